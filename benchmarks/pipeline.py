"""What does our pipeline cost beyond its stages, and what does it gain over a loop?

    python -m benchmarks.pipeline --engine E.engine --video FILE --blocks 5

A video to its annotated copy: ours, as `bas-edge run` makes it, against a loop that decodes, runs,
draws and encodes one frame after another, with the same drawing, encoder and encoder options, and
every library's own default threads. The floor is the CPU time of each stage alone, summed and
divided by the cores. Every run and every stage is a process of its own; they take turns, so that a
drifting clock hits all of them. Exit code 1 where the boxes or videos differ or a target is missed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np

from bas_edge import open_engine
from bas_edge.errors import BasEdgeError

from .__main__ import provenance
from .child import run_child
from .harness import WorkerError, WrongAnswerError
from .long_video import write_repeated
from .pipeline_variants import RUNS, STAGES, Measured
from .rows import RESULTS, PipelineRow, Provenance, append_row, missed_targets
from .tables import row_line
from .timings import Ratio, rounded

__all__ = ["agreement", "main", "pipeline_row", "pipeline_row_of", "times_s"]

Spawn = Callable[[str, Path, Path, Path], Measured]

ASKED_RATIO = 1.15  # with int8, whose network is the smallest part
ASKED_OVER_FLOOR = 1.15
BOX_PX, SCORE = 0.01, 1e-4  # sessions with other threads may sum in another order


def pipeline_row(
    engine: Path, video: Path, blocks: int, given: Provenance, spawn: Spawn | None = None
) -> PipelineRow:
    """Verify, then measure every run and every stage in turns.

    Raises:
        WrongAnswerError: The two runs found something else, or wrote other videos.
        WorkerError: A process failed.
    """
    spawn = _spawn if spawn is None else spawn
    with tempfile.TemporaryDirectory(prefix="bas-edge-benchmarks-") as work:
        outputs = {name: Path(work) / f"{name}.mp4" for name in (*RUNS, *STAGES)}
        checked = {name: spawn(name, engine, video, outputs[name]) for name in RUNS}
        verified = agreement(
            checked["ours"], checked["naive"], *(times_s(outputs[name]) for name in RUNS)
        )
        measured: dict[str, list[Measured]] = {name: [] for name in outputs}
        for _ in range(blocks):
            for name, output in outputs.items():
                measured[name].append(spawn(name, engine, video, output))
    return pipeline_row_of(
        measured,
        given,
        engine=engine,
        video=video,
        encoder=checked["naive"].encoder,
        verified=verified,
    )


def pipeline_row_of(
    measured: dict[str, list[Measured]],
    given: Provenance,
    *,
    engine: Path,
    video: Path,
    encoder: str,
    verified: str,
) -> PipelineRow:
    """The row of what every process of every block measured."""
    wall = {name: _each_ms(measured[name], "wall_s") for name in RUNS}
    stages = {name: _each_ms(measured[name], "cpu_s") for name in STAGES}
    cores = len(os.sched_getaffinity(0))
    floors = [sum(block) / cores for block in zip(*stages.values(), strict=True)]
    precision = open_engine(engine).manifest.precision
    with av.open(str(video)) as container:
        context = container.streams.video[0].codec_context
        frame = f"{context.width} × {context.height}"
    return PipelineRow(
        provenance=given,
        engine=engine.name,
        precision=precision,
        video=video.name,
        frame=frame,
        frames=measured["ours"][0].frames,
        cores=cores,
        workers=measured["ours"][0].workers,
        encoder=encoder,
        verified=verified,
        wall_ms={name: _rounded(values) for name, values in wall.items()},
        cpu_ms={name: _rounded(_each_ms(measured[name], "cpu_s")) for name in RUNS},
        stages_ms={name: _rounded(values) for name, values in stages.items()},
        ratio=_ratio(wall["naive"], wall["ours"]),
        over_floor=_ratio(wall["ours"], floors),
        asked_ratio=ASKED_RATIO if precision == "int8" else None,
        asked_over_floor=ASKED_OVER_FLOOR,
    )


def agreement(
    ours: Measured, naive: Measured, our_times_s: Sequence[float], their_times_s: Sequence[float]
) -> str:
    """One sentence on what is the same in both runs.

    Raises:
        WrongAnswerError: A box, a label or a score differs by more than sums in another order
            explain, or the videos have other frames or times.
    """
    if len(ours.seen) != len(naive.seen) or not ours.seen:
        raise WrongAnswerError(f"{len(ours.seen)} frames against {len(naive.seen)}.")
    pairs = list(zip(ours.seen, naive.seen, strict=True))
    for at, (mine, theirs) in enumerate(pairs):
        px = float(np.abs(np.subtract(mine.box, theirs.box)).max())
        if mine.label != theirs.label or px > BOX_PX or abs(mine.score - theirs.score) > SCORE:
            raise WrongAnswerError(f"Frame {at}: {mine} against {theirs}.")
    if list(our_times_s) != list(their_times_s) or len(our_times_s) != len(ours.seen):
        raise WrongAnswerError(
            f"The annotated videos differ in times: {len(our_times_s)} frames against "
            f"{len(their_times_s)} of {len(ours.seen)}."
        )
    same = sum(mine == theirs for mine, theirs in pairs)
    return (
        f"{same} of {len(pairs)} results bit for bit the same, the others within {BOX_PX:g} px; "
        "both videos have every frame at the same time"
    )


def times_s(video: Path) -> list[float]:
    """When each frame of a video is shown, in order."""
    with av.open(str(video)) as container:
        packets = container.demux(container.streams.video[0])
        return sorted(
            float(packet.pts * packet.time_base) for packet in packets if packet.pts is not None
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Append one row; exit code 1 where something asked for was missed."""
    options = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks.pipeline", *(arguments or sys.argv[1:])])
    try:
        with tempfile.TemporaryDirectory(prefix="bas-edge-benchmarks-") as folder:
            video = options.video
            if options.seconds:
                video = Path(folder) / options.video.name
                write_repeated(options.video, video, options.seconds)
            row = pipeline_row(options.engine, video, options.blocks, provenance(command))
    except (BasEdgeError, WorkerError, WrongAnswerError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    append_row(row, options.results)
    print(row_line(row))
    missed = missed_targets(row)
    for sentence in missed:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if missed else 0


def _spawn(name: str, engine: Path, video: Path, output: Path) -> Measured:
    arguments = [name, "--engine", engine.resolve(), "--video", video.resolve()]
    cores = len(os.sched_getaffinity(0))
    return run_child("pipeline_variants", [*arguments, "--output", output], Measured, threads=cores)


def _each_ms(blocks: Sequence[Measured], field: str) -> list[float]:
    return [1000 * float(getattr(one, field)) / one.frames for one in blocks]


def _ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Of neighbouring blocks: the median, the lowest and the highest."""
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    return Ratio(
        median=round(statistics.median(ratios), 3),
        low=round(min(ratios), 3),
        high=round(max(ratios), 3),
    )


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(rounded(value) for value in values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline")
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="repeat a shorter video until it lasts so long"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
