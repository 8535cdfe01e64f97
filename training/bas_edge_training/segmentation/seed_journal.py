"""What `bas-edge seeds` has done so far: a line an image, so that an interrupted call goes on.

Each process appends to a file of its own, `unfinished_RANK.jsonl`; the first line is what the masks
are made with, and where they are cut. A line is written after its mask is in place, and a killed
process leaves at most a part of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bas_edge.errors import BasEdgeError, InputError
from bas_edge_training.atomic import replace_atomically

__all__ = ["SeedJournal", "SeedRecord", "begin_masks", "end_masks"]

_PATTERN = "unfinished_*.jsonl"


class SeedRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One image that is done.

    Attributes:
        at: Which image of the split, counted from 0.
        skipped: Why it has no mask; "" where it has one.
        seeds, refined: Of `SeedSweep.count`, before and after the walk; empty without a true mask.
    """

    at: int
    skipped: str = ""
    seeds: dict[int, int] = {}
    refined: dict[int, int] = {}


class _Head(msgspec.Struct, frozen=True):
    settings: dict[str, str]
    threshold: float


class SeedJournal:
    """The lines of one process."""

    def __init__(self, folder: Path, rank: int, settings: dict[str, str], threshold: float) -> None:
        """Go on with the whole lines of an interrupted call, or create the folder and begin.

        Raises:
            InputError: The folder cannot be created.
        """
        path = folder / _PATTERN.replace("*", str(rank))
        lines = _whole_lines(path) or [msgspec.json.encode(_Head(settings, threshold)) + b"\n"]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            replace_atomically(path, lambda temporary: temporary.write_bytes(b"".join(lines)))
            (folder / "masks").mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"Cannot create {folder}: {error.strerror}.") from error
        self.path = path
        self._stream = path.open("ab")

    def write(self, record: SeedRecord) -> None:
        """Append one line; it survives the end of this process."""
        try:
            self._stream.write(msgspec.json.encode(record) + b"\n")
            self._stream.flush()
        except OSError as error:
            raise BasEdgeError(
                f"Cannot write {self.path}: {error.strerror}.", hint="Free some space, then resume."
            ) from error

    def __enter__(self) -> SeedJournal:
        return self

    def __exit__(self, *details: object) -> None:
        self._stream.close()


def begin_masks(
    folder: Path, settings: Mapping[str, str], *, resume: bool
) -> tuple[dict[int, SeedRecord], float | None]:
    """Look what interrupted calls have done in the folder; nothing is created yet.

    Returns:
        Their records, by image, and their threshold, where there were any.

    Raises:
        InputError: The folder is taken, holds finished masks, or such with other settings.
    """
    journals = sorted(folder.glob(_PATTERN)) if folder.is_dir() else []
    if journals and not resume:
        raise InputError(
            f"{folder} holds the masks of an interrupted call.",
            hint="Go on with --resume, or choose another output folder.",
        )
    if not journals and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        hint = "Choose another output folder."
        if resume and (folder / "index.csv").is_file():
            raise InputError(f"{folder} is complete; there is nothing to resume.", hint=hint)
        raise InputError(f"{folder} exists already.", hint=hint)
    done: dict[int, SeedRecord] = {}
    threshold: float | None = None
    for path in journals:
        first, *lines = _whole_lines(path)  # whole from the start: see SeedJournal
        head = msgspec.json.decode(first, type=_Head)
        _check_settings(folder, settings, head.settings)
        threshold = head.threshold
        records = (msgspec.json.decode(line, type=SeedRecord) for line in lines)
        done |= {record.at: record for record in records if not record.skipped}  # or mended now
    return done, threshold


def end_masks(folder: Path) -> None:
    """Remove the journals, once the index is there."""
    for path in folder.glob(_PATTERN):
        path.unlink()


def _whole_lines(path: Path) -> list[bytes]:
    if not path.is_file():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _check_settings(folder: Path, now: Mapping[str, str], began: Mapping[str, str]) -> None:
    for name, value in now.items():
        if began.get(name) != value:
            raise InputError(
                f"The masks in {folder} were begun with {name} {began.get(name)}, not {value}.",
                hint="Give the same again, or choose another output folder.",
            )
