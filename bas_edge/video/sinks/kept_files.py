"""The newest files of a sink that may write for ever: the oldest go, and only its own."""

from __future__ import annotations

import contextlib
import json
import threading
import zlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from bas_edge.errors import InputError
from bas_edge.video.sinks.file_names import claim_path, partial, writing
from bas_edge.video.sinks.mp4_tail import cut_torn_end

__all__ = ["KeptByStream", "KeptFiles"]

_SLACK = 256  # lines of files that are gone, before the list is written anew


class KeptByStream:
    """The limits of a sink, which hold for each of its streams apart.

    Sinks may share a folder and a template. Where they share a stream too, they share the list of
    its files, and the lower limits count for all of them.

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
                raise InputError(f"{name} is {limit}, but must be 1 or more.")
        self._root, self._template = root, template
        self._max_files, self._max_bytes = max_files, max_bytes
        self._streams: dict[str, KeptFiles] = {}

    def of(self, stream: str) -> KeptFiles:
        """The files of this stream, those from before a restart too.

        Raises:
            BasEdgeError: Their list cannot be read or written.
        """
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
    moved away are forgotten. A video whose writing a power cut stopped gets its name at the start;
    what else was being written is removed.

    Args:
        root: The folder that all files lie in or below. It must exist.
        key: Tells the lists in one folder apart.
        max_files: Groups of files to keep; None keeps any number.
        max_bytes: Bytes to keep, the newest group always; None keeps any number.

    Raises:
        BasEdgeError: Here and from every method: the list, or a file, cannot be written.
    """

    def __init__(
        self, root: Path, key: str, *, max_files: int | None = None, max_bytes: int | None = None
    ) -> None:
        self.root = root
        self.max_files, self.max_bytes = max_files, max_bytes
        self.list_path = root / f".bas-edge-{zlib.crc32(key.encode('utf-8', 'replace')):08x}.kept"
        with writing(self.list_path):
            self._list = _shared_list(self.list_path) if self.limited else None

    @property
    def limited(self) -> bool:
        """Whether anything is ever removed."""
        return self.max_files is not None or self.max_bytes is not None

    def claim(self, path: Path, *, also: str | None = None) -> Path:
        """Make the folder of `path`, take the name as `claim_path` does, and `begin` with it."""
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path = claim_path(path, also=also)
        paths = [path] if also is None else [path, path.with_suffix(also)]
        try:
            self.begin(paths)
        except BaseException:
            self.abandon(paths)
            raise
        return path

    def begin(self, paths: Sequence[Path]) -> None:
        """Put files on the list that are about to be written, together as one group."""
        if self._list is not None:
            with writing(self.list_path):
                self._list.begin(self._names(paths))

    def finished(self, paths: Sequence[Path]) -> None:
        """The group is whole: count it, and remove the oldest ones beyond the limits."""
        if self._list is not None:
            with writing(self.list_path):
                self._list.finished(self._names(paths), self.max_files, self.max_bytes)

    def abandon(self, paths: Sequence[Path]) -> None:
        """After an error: remove what there is of the group, and forget it."""
        with contextlib.suppress(OSError):
            for path in paths:
                partial(path).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
        if self._list is not None:
            self._list.forget(self._names(paths))

    def _names(self, paths: Sequence[Path]) -> list[str]:
        return [path.relative_to(self.root).as_posix() for path in paths]


class _KeptList:
    """One list, of all sinks of this process that use it; its methods may raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._groups: deque[list[str]] = deque()
        self._bytes: dict[str, int] = {}  # of each finished group, by its first name
        self._dead = 0
        self._torn = False
        if path.is_file():
            self._read()

    def begin(self, group: list[str]) -> None:
        with self._lock:
            if self._torn:
                self._rewrite()
            self._torn = True
            with self._path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(group) + "\n")
            self._torn = False
            self._groups.append(group)

    def finished(self, group: list[str], max_files: int | None, max_bytes: int | None) -> None:
        with self._lock:
            self._bytes[group[0]] = self._size(group)
            total = sum(self._bytes.values())
            while (max_files is not None and len(self._bytes) > max_files) or (
                max_bytes is not None and total > max_bytes
            ):
                oldest = next((one for one in self._groups if one[0] in self._bytes), None)
                if oldest is None or oldest[0] == group[0]:
                    break  # those still being written, and the newest, stay
                for name in oldest:
                    old = self._path.parent / name
                    with writing(old):
                        old.unlink(missing_ok=True)
                self._groups.remove(oldest)
                total -= self._bytes.pop(oldest[0])
                self._dead += 1
            if self._dead > _SLACK:
                self._rewrite()

    def forget(self, group: list[str]) -> None:
        with self._lock:
            if group in self._groups:
                self._groups.remove(group)
                self._dead += 1

    def _read(self) -> None:
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            group = _group(line)
            if group is None or any(group == known for known in self._groups):
                continue
            paths = [self._path.parent / name for name in group]
            for path in paths:
                if not partial(path).exists():
                    continue
                if path.suffix != ".mp4" or not partial(path).stat().st_size:
                    partial(path).unlink()
                elif not path.exists():
                    cut_torn_end(partial(path))
                    partial(path).rename(path)
            if any(path.exists() for path in paths):
                self._groups.append(group)
                self._bytes[group[0]] = self._size(group)
        self._rewrite()

    def _rewrite(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text("".join(json.dumps(group) + "\n" for group in self._groups), "utf-8")
        new.replace(self._path)
        self._dead, self._torn = 0, False

    def _size(self, group: list[str]) -> int:
        size = 0
        for name in group:
            with contextlib.suppress(OSError):
                size += (self._path.parent / name).stat().st_size
        return size


_lists: WeakValueDictionary[Path, _KeptList] = WeakValueDictionary()
_lists_lock = threading.Lock()


def _shared_list(path: Path) -> _KeptList:
    with _lists_lock:
        key = path.resolve()
        found = _lists.get(key)
        if found is None:
            found = _lists[key] = _KeptList(key)
        return found


def _group(line: str) -> list[str] | None:
    """The names on a line of the list; None for a torn line, or a name outside the folder."""
    with contextlib.suppress(ValueError):
        names = json.loads(line)
        if isinstance(names, list) and names and all(isinstance(one, str) for one in names):
            return names if all(_inside(one) for one in names) else None
    return None


def _inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts
