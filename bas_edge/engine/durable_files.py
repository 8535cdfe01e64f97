"""Files and folders that are on the disk whole, and not only on their way there."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "hidden_folder",
    "move_into_place",
    "sync_folder",
    "sync_folders",
    "write_and_sync",
]


@contextlib.contextmanager
def hidden_folder(destination: Path) -> Iterator[Path]:
    """A new folder beside `destination`, gone at the end whatever happens (Ctrl-C too)."""
    folder = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        folder.chmod(0o755)  # mkdtemp makes it private
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_and_sync(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folders(folder: Path) -> None:
    for place, _, _ in os.walk(folder):
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, where the system can (Windows cannot open a folder)."""
    with contextlib.suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def move_into_place(folder: Path, destination: Path, *, replace: bool) -> None:
    """Give a finished folder its name; with `replace`, instead of what has it.

    Raises:
        OSError: It cannot be done. What had the name has it still.
    """
    if not (replace and destination.exists()):
        folder.rename(destination)
        sync_folder(destination.parent)
        return
    with hidden_folder(destination) as shelf:
        old = shelf / "old"
        destination.rename(old)
        try:
            folder.rename(destination)
        except BaseException:
            old.rename(destination)
            raise
        sync_folder(destination.parent)
