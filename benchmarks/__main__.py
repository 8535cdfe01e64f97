"""`python -m benchmarks`: run cases, append their rows, show them as tables."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from bas_edge.errors import BasEdgeError

from .cases import CASES
from .conditions import REPOSITORY, read_commit, read_conditions
from .harness import Settings, SkippedCaseError, WorkerError, WrongAnswerError
from .rows import RESULTS, Provenance, append_row, missed_targets, read_rows
from .tables import PAGE, compare_table, page_with_rows, pictures, row_line

__all__ = ["main", "provenance"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where a target was missed, a case failed, or the page is out of date."""
    options = _parser().parse_args(arguments)
    if options.verb == "list":
        for case in CASES.values():
            print(f"{case.name:20} {case.summary}")
        return 0
    if options.verb == "run":
        return _run(options)
    if options.verb == "compare":
        print(compare_table(read_rows(options.before), read_rows(options.after)))
        return 0
    return _render(options)


def provenance(command: str, date: str | None = None) -> Provenance:
    """This machine, this commit, now (or `date`, where the clock cannot be trusted)."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Provenance(
        date=date or now, commit=read_commit(), command=command, conditions=read_conditions()
    )


def _run(options: argparse.Namespace) -> int:
    names = list(CASES) if options.case == "all" else [options.case]
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bas-edge-benchmarks-") as work:
        for name in names:
            print(f"{name}: {CASES[name].summary}", file=sys.stderr)
            settings = Settings(
                provenance=provenance(_command(name, options), options.date),
                work=Path(work),
                blocks=options.blocks,
                block_s=options.block_s,
                video=options.video or _nearby_video(),
                engine=options.engine,
            )
            try:
                for row in CASES[name].run(settings):
                    append_row(row, options.results)
                    print(f"  {row_line(row)}", flush=True)
                    missed += missed_targets(row)
            except SkippedCaseError as error:
                print(f"  skipped: {error}", file=sys.stderr)
            except (BasEdgeError, WorkerError, WrongAnswerError) as error:
                print(f"  failed: {error}", file=sys.stderr)
                missed.append(f"{name}: failed")
    for sentence in missed:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if missed else 0


def _render(options: argparse.Namespace) -> int:
    rows = read_rows(options.results)
    files = {PAGE: page_with_rows(PAGE.read_text(encoding="utf-8"), rows), **pictures(rows)}
    if options.check:
        stale = [path for path, content in files.items() if not _holds(path, content)]
        for path in stale:
            print(f"{path} is out of date: python -m benchmarks render", file=sys.stderr)
        return int(bool(stale))
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
        print(path)
    return 0


def _holds(path: Path, content: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == content


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="name the cases")
    run = verbs.add_parser("run", help="run one case or all, and append their rows")
    run.add_argument("case", choices=["all", *CASES])
    run.add_argument("--blocks", type=_positive, default=5, help="blocks per variant")
    run.add_argument("--block-s", type=float, help="seconds per block, instead of the case's own")
    run.add_argument("--video", type=Path, help="file for the video case")
    run.add_argument("--engine", type=Path, help="engine for the video case")
    run.add_argument("--date", help="for the rows, instead of this machine's clock")
    _add_results(run)
    compare = verbs.add_parser("compare", help="two folders of rows, case by case")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path, nargs="?", default=RESULTS)
    render = verbs.add_parser("render", help="write the tables of docs/benchmarks.md")
    render.add_argument("--check", action="store_true", help="only say whether they are current")
    _add_results(render)
    return parser


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the rows")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def _command(name: str, options: argparse.Namespace) -> str:
    """What to type to measure this row again."""
    words = ["python", "-m", "benchmarks", "run", name, "--blocks", str(options.blocks)]
    if options.block_s is not None:
        words += ["--block-s", f"{options.block_s:g}"]
    if name == "video":
        words += [w for flag in ("video", "engine") if (value := getattr(options, flag))
                  for w in (f"--{flag}", str(value))]  # fmt: skip
    return shlex.join(words)


def _nearby_video() -> Path | None:
    """The video beside the repository, or under BAS_EDGE_SHARED_DATA, as the tests look for it."""
    shared = os.environ.get("BAS_EDGE_SHARED_DATA", REPOSITORY.parent / "shared" / "data")
    return next(iter(sorted(Path(shared).glob("video/*.mp4"))), None)


if __name__ == "__main__":
    sys.exit(main())
