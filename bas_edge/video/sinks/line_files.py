"""Text files that grow line by line: by stream and date, appended to, and turned over by size."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from bas_edge.errors import BasEdgeError, InputError
from bas_edge.video.sinks.file_names import NameTemplate, moment_fields, prepare_folder

__all__ = ["LineFiles"]

_LONGEST_LINE = 1 << 20  # bytes; a torn line is looked for in so many at the end


class LineFiles:
    """Appends lines to the files that a template names.

    Args:
        names: May use {stream} and {date}.
        looks_right: Raises InputError for an existing file whose first line is not of this kind.
        header: The first line of each file; None for none.
        max_bytes: Turn a file over once it has so many; None never does.
        keep: How many older files to keep then.

    Raises:
        InputError: The folder cannot be written to, or a limit is under 1.
    """

    def __init__(
        self,
        names: NameTemplate,
        *,
        looks_right: Callable[[Path, bytes], None],
        header: bytes | None = None,
        max_bytes: int | None = None,
        keep: int = 5,
    ) -> None:
        if (max_bytes is not None and max_bytes < 1) or keep < 1:
            raise InputError(f"max_bytes is {max_bytes} and keep is {keep}: both must be over 0.")
        prepare_folder(names.root)
        self._names, self._looks_right, self._header = names, looks_right, header
        self._max_bytes, self._keep = max_bytes, keep
        self._open_files: dict[Path, FileIO] = {}
        self._path_of: dict[str, Path] = {}  # the file that each stream wrote to last

    def write(self, stream: str, unix_s: float, line: bytes) -> None:
        """Append `line` and a newline to the file of this stream at this moment."""
        path = self._names.path(stream=stream, date=moment_fields(unix_s)["date"])
        before = self._path_of.get(stream, path)
        self._path_of[stream] = path
        if before != path and before not in self._path_of.values():
            self._close(before)
        try:
            file = self._open_files.get(path) or self._open(path)
            if self._max_bytes is not None and file.tell() >= self._max_bytes:
                file = self._turn_over(path)
            _append(file, line + b"\n")
        except OSError as error:
            raise BasEdgeError(
                f"Cannot write {path}: {error.strerror}.",
                hint="Check the folder, its permissions and the space that is left.",
            ) from error

    def close(self) -> None:
        """Close every file."""
        for path in list(self._open_files):
            self._close(path)

    def _close(self, path: Path) -> None:
        file = self._open_files.pop(path, None)
        if file is not None:
            file.close()

    def _open(self, path: Path) -> FileIO:
        prepare_folder(path.parent)
        file = path.open("ab+", buffering=0)
        try:
            self._repair(path, file)
            if self._header is not None and file.tell() == 0:
                _append(file, self._header + b"\n")
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
        file.seek(0)
        self._looks_right(path, file.read(_LONGEST_LINE).partition(b"\n")[0])
        tail_at = max(0, size - _LONGEST_LINE)
        file.seek(tail_at)
        tail = file.read()
        if not tail.endswith(b"\n"):
            file.truncate(tail_at + tail.rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)

    def _turn_over(self, path: Path) -> FileIO:
        self._close(path)
        for number in range(self._keep, 0, -1):
            newer = path if number == 1 else _numbered(path, number - 1)
            if newer.exists():
                newer.replace(_numbered(path, number))
        return self._open(path)


def _append(file: FileIO, line: bytes) -> None:
    """All of the line or, on a full disk, nothing of it."""
    begin = file.seek(0, os.SEEK_END)
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
