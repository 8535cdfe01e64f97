"""Measured statistics on disk, so that the same calibration is not measured twice.

One file an entry, `<sha256 of the key>.npz`: a zip archive without compression whose member
`entry.json` holds the key, and `0.npy`, `1.npy` … the arrays. It appears by a rename, so that
builds side by side see whole entries only, and the archive's checksums tell a damaged one.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.quantization.cache_key import CacheKey, differences

__all__ = ["CachedStatistics", "CalibrationCache", "cache_folder"]

MOST_ENTRIES = 8
MOST_BYTES = 256 << 20

_FORMAT = 1
_ENTRY = "entry.json"
_ENTRY_LIMIT_BYTES = 16 << 20
_ABANDONED_S = 3600.0  # a temporary file this old belongs to no running build
# What decoding a file of anyone's making may end in.
_DAMAGE = (
    *(ValueError, EOFError, KeyError, RuntimeError, MemoryError),
    *(msgspec.DecodeError, zipfile.BadZipFile),
)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What stands beside the arrays: `names[n]` is that of the member `n.npy`."""

    format: int
    key: CacheKey
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CachedStatistics:
    """What the cache had for a key.

    Attributes:
        arrays: By name; None if there is nothing to reuse.
        reason: One sentence: reused, or why not.
    """

    arrays: dict[str, NDArray[Any]] | None
    reason: str = ""


def cache_folder() -> Path | None:
    """Where statistics are kept: `calibration` in `$BAS_EDGE_CACHE`, in `bas_edge` of
    `$XDG_CACHE_HOME`, or in `~/.cache/bas_edge`; None where there is no home either.
    """
    if own := os.environ.get("BAS_EDGE_CACHE"):
        return Path(own) / "calibration"
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not shared.is_absolute():  # the specification has relative ones ignored
        try:
            shared = Path.home() / ".cache"
        except RuntimeError:
            return None
    return shared / "bas_edge" / "calibration"


class CalibrationCache:
    """At most 8 entries and 256 MiB of statistics; those not used for longest go first.

    Nothing here raises for the state of the disk: a cache that cannot be read or written costs
    time, and says why.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else cache_folder()

    def load(self, key: CacheKey) -> CachedStatistics:
        """The statistics stored for exactly this key, or the reason why there are none."""
        if self.folder is None:
            return CachedStatistics(None, reason="Not reused: there is no home folder to keep any.")
        path = self._path(self.folder, key)
        try:
            entry, arrays = _read(path)
        except FileNotFoundError:
            return CachedStatistics(None, reason=self._why_not(self.folder, key))
        except OSError as error:
            return CachedStatistics(None, reason=f"Not reused: cannot read {path}: {error}.")
        except _DAMAGE as error:
            return CachedStatistics(None, reason=f"Not reused: {path} is damaged ({error}).")
        if entry.key.digest != key.digest:
            return CachedStatistics(None, reason=f"Not reused: {path} holds other statistics.")
        with contextlib.suppress(OSError):
            os.utime(path)  # so that it goes last
        reason = f"Reused: the same graph, {len(key.images)} images, input and versions."
        return CachedStatistics(arrays, reason)

    def store(self, key: CacheKey, arrays: Mapping[str, NDArray[Any]]) -> str:
        """Keep statistics for `load`; "" or, where that fails, why in one sentence.

        Args:
            key: What decides them.
            arrays: Any names and shapes; no objects.
        """
        if self.folder is None:
            return "The statistics were not kept: there is no home folder to keep any."
        size_bytes = sum(array.nbytes for array in arrays.values())
        if size_bytes > MOST_BYTES:
            return (
                f"The statistics were not kept: they take {size_bytes >> 20} MiB, and the cache "
                f"holds {MOST_BYTES >> 20} MiB."
            )
        path = self._path(self.folder, key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, key, arrays)
        except OSError as error:
            where = error.filename or self.folder
            return f"The statistics were not kept: cannot write {where}: {error.strerror}."
        _tidy(self.folder, path)
        return ""

    @staticmethod
    def _path(folder: Path, key: CacheKey) -> Path:
        return folder / f"{key.digest}.npz"

    @staticmethod
    def _why_not(folder: Path, key: CacheKey) -> str:
        """Against the entry used last of the same model, if possible with the same images."""
        known = []
        for path in _by_age(folder):
            with contextlib.suppress(OSError, *_DAMAGE):
                known.append(_read_entry(path).key)
        known = [old for old in known if old.model == key.model and old.digest != key.digest]
        same_source = [old for old in known if old.source == key.source]
        for old in same_source or known:
            return f"Not reused: {'; '.join(differences(old, key))}."
        return f"Not reused: none yet for {key.model}."


def _write(path: Path, key: CacheKey, arrays: Mapping[str, NDArray[Any]]) -> None:
    entry = _Entry(format=_FORMAT, key=key, names=tuple(arrays))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_ENTRY, msgspec.json.encode(entry))
                for n, array in enumerate(arrays.values()):
                    with archive.open(f"{n}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(path: Path) -> tuple[_Entry, dict[str, NDArray[Any]]]:
    entry = _read_entry(path)
    arrays = {}
    with np.load(path, allow_pickle=False) as archive:
        for n, name in enumerate(entry.names):
            arrays[name] = archive[f"{n}.npy"]
    return entry, arrays


def _read_entry(path: Path) -> _Entry:
    """The JSON of an entry, after its sizes were checked."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        claimed = sum(member.file_size for member in members)
        if claimed > MOST_BYTES + _ENTRY_LIMIT_BYTES:
            raise ValueError(f"it claims {claimed} bytes")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed")
        if archive.getinfo(_ENTRY).file_size > _ENTRY_LIMIT_BYTES:
            raise ValueError(f"{_ENTRY} is too large")
        entry = msgspec.json.decode(archive.read(_ENTRY), type=_Entry)
    if entry.format != _FORMAT:
        raise ValueError(f"it has format {entry.format}, and this version reads {_FORMAT}")
    return entry


def _by_age(folder: Path) -> list[Path]:
    """The entries, the one used last first."""
    aged = []
    with contextlib.suppress(OSError):
        for path in folder.glob("*.npz"):
            with contextlib.suppress(OSError):  # another build removed it
                aged.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(aged, reverse=True)]


def _tidy(folder: Path, newest: Path) -> None:
    """Hold the folder to its limits, and remove what killed builds left."""
    room = MOST_BYTES
    for n, path in enumerate(sorted(_by_age(folder), key=lambda path: path != newest)):
        with contextlib.suppress(OSError):
            room -= path.stat().st_size
            if path != newest and (n >= MOST_ENTRIES or room < 0):
                path.unlink()
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()
