"""What the verbs print: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = [
    "build_bar",
    "counted",
    "done_word",
    "json_line",
    "print_json",
    "print_rows",
    "progress_bar",
    "shown_progress",
    "size_text",
    "skipped_text",
]


_LINE_EVERY_S = 30.0  # as `train` has them


def json_line(value: Any) -> str:
    """One line of JSON; takes dataclasses, msgspec structs, NumPy numbers and paths."""
    import msgspec

    return msgspec.json.encode(value, enc_hook=_plain).decode()


def print_json(value: Any) -> None:
    """Print one line of JSON on stdout, at once, so that a pipe sees it as it happens."""
    print(json_line(value), flush=True)


def print_rows(
    rows: Iterable[Sequence[object]], *, indent: int = 2, file: TextIO | None = None
) -> None:
    """Print rows, on stdout by default, with their columns aligned and the last one ragged."""
    table = [[str(cell) for cell in row] for row in rows]
    columns = max((len(row) for row in table), default=0)
    widths = [max(len(row[at]) for row in table if at < len(row)) for at in range(columns)]
    for row in table:
        cells = [cell.ljust(widths[at]) for at, cell in enumerate(row[:-1])]
        print(" " * indent + "  ".join([*cells, row[-1]]).rstrip(), file=file)


def progress_bar() -> Progress:
    """A progress display on stderr that leaves nothing behind; silent in a pipe."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


@contextlib.contextmanager
def shown_progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """What takes (done, total): a bar on a terminal, in a pipe a line every half minute."""
    begun: tuple[int, float] | None = None  # not at 0 where a call goes on with another's work
    last_s = 0.0

    with progress_bar() as bar:
        task = bar.add_task(name, total=None, note="")

        def show(done: int, total: int) -> None:
            nonlocal begun, last_s
            bar.update(task, completed=done, total=total)
            if not bar.disable:
                return
            now_s = time.monotonic()
            if begun is None:
                begun, last_s = (done, now_s), now_s
            elif now_s - last_s >= _LINE_EVERY_S and done > begun[0]:
                left_s = (now_s - begun[1]) / (done - begun[0]) * (total - done)
                last_s = now_s
                print(f"{name}: {done} of {total}  ETA {left_s / 60:.0f} min", file=sys.stderr)

        yield show


@contextlib.contextmanager
def build_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar with an ETA on stderr for a build that reports (phase, share done); see above."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Eta

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("ETA"),
        Eta(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task("checking", total=1.0)

        def show(phase: str, share: float) -> None:
            bar.update(task, description=phase[:40], completed=share)

        yield show


def counted(count: int, noun: str) -> str:
    """A count with its noun: "1 image", "7 images"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def done_word(task: str) -> str:
    """What an engine for `task` did with its frames: "localized" or "segmented"."""
    return "segmented" if task == "segmentation" else "localized"


def skipped_text(count: int) -> str:
    """As "1 image was skipped"."""
    return f"{counted(count, 'image')} {'was' if count == 1 else 'were'} skipped"


def size_text(count: int) -> str:
    """Bytes for people: "512 MiB", "1.5 GiB"."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count >> 20} MiB"


def _plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
