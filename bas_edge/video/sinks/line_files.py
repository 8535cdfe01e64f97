"""Text files that grow line by line: by stream and date, appended to, and turned over by size."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from bas_edge.errors import InputError
from bas_edge.video.sinks.file_names import NameTemplate, moment_fields, writing

__all__ = ["LineFiles", "LineKind"]

_LONGEST_LINE = 1 << 20  # bytes; a torn line is looked for in so many at the end
_ANY_DATE = "9999-99-99"  # stands for every date


@dataclass(frozen=True, slots=True)
class LineKind:
    """What the lines of a file are, so that a file of another kind is left alone.

    Attributes:
        name: "lines of JSON".
        first: Whether this is a whole first line.
        whole: Whether this is a whole line.
        begun: Whether this is the beginning of a first line.
        header: The first line of each file; None for none.
    """

    name: str
    first: Callable[[bytes], bool]
    whole: Callable[[bytes], bool]
    begun: Callable[[bytes], bool]
    header: bytes | None = None


class LineFiles:
    """Appends lines to the files that a template names.

    Args:
        names: May use {stream} and {date}.
        kind: What the lines are.
        max_bytes: Turn a file over once it has so many; None never does, and removes nothing.
        keep: How many older files to keep then of a stream, of all dates together.

    Raises:
        InputError: The folder cannot be written to, or a limit is under 1.
    """

    def __init__(
        self,
        names: NameTemplate,
        kind: LineKind,
        *,
        max_bytes: int | None = None,
        keep: int = 5,
    ) -> None:
        if (max_bytes is not None and max_bytes < 1) or keep < 1:
            raise InputError(f"max_bytes is {max_bytes} and keep is {keep}: both must be over 0.")
        if not _is_pipe(Path(names.text)):
            names.check_files()
        self._names, self._kind = names, kind
        self._max_bytes, self._keep = max_bytes, keep
        self._open_files: dict[Path, FileIO] = {}
        self._path_of: dict[str, Path] = {}  # the file that each stream wrote to last
        self._unread: set[Path] = set()  # pipes whose reader went away

    def write(self, stream: str, unix_s: float, line: bytes) -> None:
        """Append `line` and a newline to the file of this stream at this moment.

        After an error the next line may be tried: nothing of this one is in the file then.

        Raises:
            InputError: The file holds something else, or is a pipe that nobody reads any more.
            BasEdgeError: The line cannot be written.
        """
        path = self._names.path(stream=stream, date=moment_fields(unix_s)["date"])
        before = self._path_of.get(stream, path)
        self._path_of[stream] = path
        if before != path and before not in self._path_of.values():
            self._close(before)
        if path in self._unread:
            raise _nobody_reads(path)
        with writing(path):
            try:
                file = self._open_files.get(path) or self._open(path, stream)
                limit = self._max_bytes if file.seekable() else None
                if limit is not None and file.tell() >= limit:
                    file = self._turn_over(path, stream)
                _append(file, line + b"\n")
            except BrokenPipeError:
                self._close(path)
                self._unread.add(path)  # opening it again would wait for another reader
                raise _nobody_reads(path) from None
            except OSError:
                self._close(path)  # opening it again looks for what is torn
                raise

    def close(self) -> None:
        """Close every file."""
        for path in list(self._open_files):
            self._close(path)

    def _close(self, path: Path) -> None:
        file = self._open_files.pop(path, None)
        if file is not None:
            with writing(path):
                file.close()

    def _open(self, path: Path, stream: str) -> FileIO:
        if _is_pipe(path):  # there is nothing in it to look at
            file = self._open_files[path] = path.open("ab", buffering=0)
            if self._kind.header is not None:
                _append(file, self._kind.header + b"\n")
            return file
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab+", buffering=0)
        try:
            self._repair(path, file)
            if self._kind.header is not None and file.tell() == 0:
                _append(file, self._kind.header + b"\n")
            self._remove_oldest(path, stream)
        except BaseException:
            file.close()
            raise
        self._open_files[path] = file
        return file

    def _repair(self, path: Path, file: FileIO) -> None:
        """Cut off the line that a crash tore, so that what follows is on lines of its own."""
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        begins, more = self._begin(file)
        if not (self._kind.first(begins) or (not more and self._kind.begun(begins))):
            raise InputError(
                f"{path} exists and holds something else than {self._kind.name}.",
                hint="Name another file, or move this one away.",
            )
        tail_at = max(0, size - _LONGEST_LINE)
        file.seek(tail_at)
        before, newline, tail = file.read().rpartition(b"\n")
        if tail and (self._kind.whole if newline else self._kind.first)(tail):
            _append(file, b"\n")
        elif tail:
            file.truncate(tail_at + len(before) + len(newline))
        file.seek(0, os.SEEK_END)

    def _begin(self, file: FileIO) -> tuple[bytes, bool]:
        """The first line, and whether it has its newline."""
        file.seek(0)
        line, newline, _ = file.read(_LONGEST_LINE).partition(b"\n")
        return line, bool(newline)

    def _turn_over(self, path: Path, stream: str) -> FileIO:
        self._close(path)
        for number in range(self._keep, 0, -1):
            newer = path if number == 1 else _numbered(path, number - 1)
            if newer.exists():
                newer.replace(_numbered(path, number))
        return self._open(path, stream)

    def _remove_oldest(self, path: Path, stream: str) -> None:
        """Keep the limit over all dates; a file that happens to have such a name stays."""
        if self._max_bytes is None:
            return
        like = self._names.path(stream=stream, date=_ANY_DATE)
        older = [one for *_, one in _files_like(like) if one != path]
        for old in older[: -self._keep]:
            with old.open("rb", buffering=0) as file:
                ours = self._kind.first(self._begin(file)[0])
            if ours:
                old.unlink()


def _files_like(path: Path) -> list[tuple[str, int, Path]]:
    """The files that are `path`, of any date, or were turned over from it; the oldest first.

    Each as what it was turned over from, minus how often, and its path.
    """
    head, suffix = str(path.with_suffix("")), path.suffix
    text = f"({re.escape(head)})(?:\\.(\\d+))?{re.escape(suffix)}"
    pattern = re.compile(text.replace(re.escape(_ANY_DATE), r"\d{4}-\d\d-\d\d"))
    digits = "-".join("[0-9]" * count for count in (4, 2, 2))
    stem, end = (glob.escape(part).replace(_ANY_DATE, digits) for part in (head, suffix))
    names = [*glob.glob(stem + end), *glob.glob(f"{stem}.*{end}")]  # noqa: PTH207  (may be absolute)
    matches = [match for name in names if (match := pattern.fullmatch(name))]
    return sorted((one[1], -int(one[2] or 0), Path(one[0])) for one in matches)


def _is_pipe(path: Path) -> bool:
    """Or a terminal: what can be written, but has no end to go to."""
    return path.is_fifo() or path.is_char_device()


def _nobody_reads(path: Path) -> InputError:
    return InputError(f"{path} is a pipe that nobody reads any more.", hint="Start both again.")


def _append(file: FileIO, line: bytes) -> None:
    """All of the line or, on a full disk, nothing of it."""
    begin = file.seek(0, os.SEEK_END) if file.seekable() else 0
    left = line
    try:
        while left:
            left = left[file.write(left) or 0 :]
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(begin)
        raise


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")
