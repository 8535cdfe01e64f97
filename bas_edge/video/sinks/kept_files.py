"""The newest files of a sink that may write for ever: the oldest go, and only its own."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from bas_edge.errors import InputError
from bas_edge.video.sinks.file_names import partial

__all__ = ["KeptByStream", "KeptFiles"]

_SLACK = 256  # lines of files that are gone, before the list is written anew


class KeptByStream:
    """The limits of a sink, which hold for each of its streams apart.

    Sinks of one kind may share a folder and a template, as long as they have different streams.

    Args:
        root: As for `KeptFiles`.
        template: Of the files' names.
        max_files: As for `KeptFiles`.
        max_bytes: As for `KeptFiles`.

    Raises:
        InputError: A limit under 1.
    """

    def __init__(
        self, root: Path, template: str, *, max_files: int | None, max_bytes: int | None
    ) -> None:
        for name, limit in (("max_files", max_files), ("max_bytes", max_bytes)):
            if limit is not None and limit < 1:
                raise InputError(
                    f"{name} is {limit}: at least 1 is needed.", hint="None keeps everything."
                )
        self._root, self._template = root, template
        self._max_files, self._max_bytes = max_files, max_bytes
        self._streams: dict[str, KeptFiles] = {}

    def of(self, stream: str) -> KeptFiles:
        """The files of this stream, those from before a restart too."""
        if stream not in self._streams:
            self._streams[stream] = KeptFiles(
                self._root,
                f"{self._template}\0{stream}",
                max_files=self._max_files,
                max_bytes=self._max_bytes,
            )
        return self._streams[stream]


class KeptFiles:
    """Remembers what a sink wrote and removes the oldest beyond a number or a size.

    The list is a file in the root folder, one JSON array of names a line, so that a restarted
    process goes on with it: nothing that is not on the list is ever removed. Files that a user
    moved away are forgotten; those whose writing a power cut stopped get their name at the start.

    Args:
        root: The folder that all files lie in or below. It must exist.
        key: Tells the lists in one folder apart.
        max_files: Groups of files to keep; None keeps any number.
        max_bytes: Bytes to keep, the newest group always; None keeps any number.
    """

    def __init__(
        self, root: Path, key: str, *, max_files: int | None = None, max_bytes: int | None = None
    ) -> None:
        self.root = root
        self.max_files, self.max_bytes = max_files, max_bytes
        self.list_path = root / f".bas-edge-{zlib.crc32(key.encode('utf-8', 'replace')):08x}.kept"
        self._groups: deque[list[str]] = deque()
        self._bytes: dict[str, int] = {}  # of each finished group, by its first name
        self._dead = 0
        self._read()

    @property
    def limited(self) -> bool:
        """Whether anything is ever removed."""
        return self.max_files is not None or self.max_bytes is not None

    def begin(self, paths: Sequence[Path]) -> None:
        """Put files on the list that are about to be written, together as one group."""
        if not self.limited:
            return
        group = [path.relative_to(self.root).as_posix() for path in paths]
        with self.list_path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(group) + "\n")
        self._groups.append(group)

    def finished(self, paths: Sequence[Path]) -> None:
        """The group is whole: count it, and remove the oldest ones beyond the limits."""
        if not self.limited:
            return
        first = paths[0].relative_to(self.root).as_posix()
        self._bytes[first] = sum(_size(path) for path in paths)
        total = sum(self._bytes.values())
        while self._over(total):
            oldest = next((one for one in self._groups if one[0] in self._bytes), None)
            if oldest is None or oldest[0] == first:
                break  # those still being written, and the newest, stay
            for name in oldest:
                (self.root / name).unlink(missing_ok=True)
            self._groups.remove(oldest)
            total -= self._bytes.pop(oldest[0])
            self._dead += 1
        if self._dead > _SLACK:
            self._rewrite()

    def _over(self, total_bytes: int) -> bool:
        files = self.max_files is not None and len(self._bytes) > self.max_files
        return files or (self.max_bytes is not None and total_bytes > self.max_bytes)

    def _read(self) -> None:
        if not self.limited or not self.list_path.is_file():
            return
        for line in self.list_path.read_text(encoding="utf-8", errors="replace").splitlines():
            group = _group(line)
            if group is None or any(group == known for known in self._groups):
                continue
            paths = [self.root / name for name in group]
            for path in paths:
                if not path.exists() and partial(path).exists():
                    partial(path).rename(path)
            if any(path.exists() for path in paths):
                self._groups.append(group)
                self._bytes[group[0]] = sum(_size(path) for path in paths)
        self._rewrite()

    def _rewrite(self) -> None:
        new = self.list_path.with_suffix(".new")
        new.write_text("".join(json.dumps(group) + "\n" for group in self._groups), "utf-8")
        new.replace(self.list_path)
        self._dead = 0


def _group(line: str) -> list[str] | None:
    """The names on a line of the list; None for a torn line, or a name outside the folder."""
    with contextlib.suppress(ValueError):
        names = json.loads(line)
        if isinstance(names, list) and names and all(isinstance(one, str) for one in names):
            return names if all(_inside(one) for one in names) else None
    return None


def _inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
