"""The latency/accuracy picture: engines of several widths, strides, sizes and precisions.

    python -m benchmarks.pareto benchmarks/pareto.toml --runs runs --data data/cub50/val.csv \\
        --images data/cub50/train.csv --work engines

makes the engines that are not in `--work` yet, measures the accuracy of each as it ships, times
each from frame to box against the eager paper head, as alternating processes, and writes the page
and the picture anew. What already has a row for the same graph is skipped, so the same command
goes on after an interruption. An engine of the same weights is kept: after a change in export or
build, empty `--work`. `--only accuracy` needs no quiet machine; `--only latency` needs one.
Instead of a plan, a folder of `.engine` folders and `.onnx` files can be given. With `--results`,
rows go elsewhere, and the page stays.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from bas_edge import open_engine
from bas_edge.annotations import read_annotations
from bas_edge.errors import BasEdgeError
from bas_edge.images import read_image
from bas_edge_training.checkpoint import load_checkpoint

from .__main__ import main as render
from .__main__ import provenance
from .accuracy import shipped_row
from .cases.frame_to_box_pareto import (
    BASELINE,
    INPUTS,
    PREFIX,
    THREADS,
    Subject,
    comparison_of,
    write_subject,
)
from .conditions import read_conditions
from .harness import Settings, WorkerError, WrongAnswerError
from .methods import data_name
from .pareto_engines import Sources, make_engine, read_candidate
from .pareto_plan import PlannedEngine, read_plan
from .pareto_rows import Candidate, ParetoAccuracyRow, ParetoSpeedRow
from .rows import RESULTS, Provenance, append_row, read_rows
from .tables import row_line

__all__ = ["main"]

_FRAME = (1280, 720)  # (width, height) of a camera's frame


class Made(NamedTuple):
    """An engine that is there, what it was planned as, and what rows call it."""

    planned: PlannedEngine
    engine: Path
    candidate: Candidate


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where an engine could not be made or measured. The others are."""
    options = _parser().parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "benchmarks.pareto", *words])
    try:
        plan = read_plan(options.source, runs=options.runs, baseline=options.baseline)
    except BasEdgeError as error:
        raise SystemExit(f"{error} {error.hint or ''}") from None
    options.work.mkdir(parents=True, exist_ok=True)
    engines = [made for planned in plan.engines if (made := _made(planned, options))]
    failed = len(plan.engines) - len(engines)
    if options.only in (None, "accuracy"):
        _measure_accuracy(engines, command, options)
    if options.only in (None, "latency"):
        if plan.baseline is None:
            raise SystemExit("A folder of engines needs --baseline RUN for its latency.")
        failed += _measure_latency(engines, plan.baseline, command, options)
    if options.results == RESULTS:
        render(["render"])
    return int(failed > 0)


def _measure_accuracy(engines: Sequence[Made], command: str, options: argparse.Namespace) -> None:
    for made in _left(engines, ParetoAccuracyRow, options):
        given = provenance(command)
        shipped = shipped_row(made.engine, options.data, given, threads=options.threads)
        row = ParetoAccuracyRow(
            case="pareto_accuracy",
            provenance=given,
            candidate=made.candidate,
            data=shipped.data,
            images=shipped.images,
            cut=shipped.cut,
            metrics=shipped.metrics,
        )
        append_row(row, options.results)
        print(f"{made.candidate.title}: {row_line(row)}", flush=True)


def _measure_latency(
    engines: Sequence[Made], baseline: Path, command: str, options: argparse.Namespace
) -> int:
    """How many engines failed."""
    frames, failed = _write_frames(options.data, options.work), 0
    classes = len(load_checkpoint(baseline).info.classes)
    for made in _left(engines, ParetoSpeedRow, options):
        try:
            row = _speed(made, baseline, classes, frames, provenance(command), options)
        except (WorkerError, WrongAnswerError) as error:
            failed += 1
            print(f"{made.candidate.title} failed: {error}", file=sys.stderr)
            continue
        append_row(row, options.results)
        print(f"{made.candidate.title}: {row_line(row)}", flush=True)
    return failed


def _made(planned: PlannedEngine, options: argparse.Namespace) -> Made | None:
    """None, said on stderr, where the engine cannot be made."""
    images = options.images or options.data.with_name("train.csv")
    sources = Sources(images, options.calibration or images)
    print(f"engine: {planned.title}", file=sys.stderr)
    try:
        engine = make_engine(planned, options.work, sources)
        return Made(planned, engine, read_candidate(engine, planned.name))
    except BasEdgeError as error:
        print(f"{planned.title} failed: {error} {error.hint or ''}", file=sys.stderr)
        return None


def _left(
    engines: Sequence[Made],
    kind: type[ParetoAccuracyRow | ParetoSpeedRow],
    options: argparse.Namespace,
) -> Iterator[Made]:
    """Those without a row of this kind for the same graph; a time has to be of this machine."""
    done = (
        []
        if options.again
        else [
            row.candidate
            for row in read_rows(options.results)
            if isinstance(row, kind) and _counts(row, options)
        ]
    )
    for made in engines:
        if made.candidate in done:
            print(f"{made.candidate.title}: has its row", file=sys.stderr)
        else:
            yield made


def _counts(row: ParetoAccuracyRow | ParetoSpeedRow, options: argparse.Namespace) -> bool:
    if isinstance(row, ParetoAccuracyRow):
        return row.data == data_name(options.data)
    here, there = read_conditions(), row.provenance.conditions
    same_machine = all(here.get(name) == there.get(name) for name in ("cpu", "cores_usable"))
    return same_machine and len(row.ours.block_p50_ms) >= int(options.blocks)


def _speed(
    made: Made,
    baseline: Path,
    classes: int,
    frames: Path,
    given: Provenance,
    options: argparse.Namespace,
) -> ParetoSpeedRow:
    own = len(open_engine(made.engine).manifest.classes)
    if own != classes:
        raise WrongAnswerError(f"it has {own} classes, and the baseline {classes}")
    name = PREFIX + made.candidate.title.replace(" ", "-")
    run = made.planned.run
    subject = Subject(
        engine=str(made.engine.resolve()),
        run="" if run is None else str(run.resolve()),
        baseline=str(baseline.resolve()),
        frames=str(frames.resolve()),
    )
    write_subject(options.work, name, subject)
    settings = Settings(
        provenance=given, work=options.work, blocks=options.blocks, block_s=options.block_s
    )
    (row,) = comparison_of(name, twin=run is not None).run(settings)
    return ParetoSpeedRow(
        case="pareto_speed",
        provenance=given,
        candidate=made.candidate,
        verified=row.verified,
        threads=THREADS,
        classes=classes,
        ours=row.timings["ours"],
        eager=row.timings[BASELINE],
        ratio=row.ratios[BASELINE],
    )


def _write_frames(data: Path, work: Path) -> Path:
    """Photographs of the split, evenly spread, stretched to a camera's frame: a .npy file."""
    items = read_annotations(data).items
    chosen = np.linspace(0, len(items) - 1, INPUTS).round().astype(int)
    frames = [Image.fromarray(read_image(items[index].path)).resize(_FRAME) for index in chosen]
    path = work / "frames.npy"
    np.save(path, np.stack([np.asarray(frame) for frame in frames]))
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pareto")
    parser.add_argument("source", type=Path, help="a plan (TOML), or a folder of engines")
    parser.add_argument("--data", type=Path, required=True, help="CSV with boxes")
    parser.add_argument("--work", type=Path, required=True, help="folder of the engines made here")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the plan's runs")
    parser.add_argument("--baseline", type=Path, help="run of the eager model, not the plan's")
    parser.add_argument("--images", type=Path, help="for export; default: train.csv beside --data")
    parser.add_argument("--calibration", type=Path, help="for int8; default: as --images")
    parser.add_argument("--only", choices=["engines", "accuracy", "latency"])
    parser.add_argument("--again", action="store_true", help="also what has its row")
    parser.add_argument("--blocks", type=int, default=5, help="blocks per engine")
    parser.add_argument("--block-s", type=float, default=1.0, help="seconds per block")
    parser.add_argument("--threads", type=int, help="for the accuracy")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
