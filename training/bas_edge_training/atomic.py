"""Folders to write to, and files in them that are either whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from bas_edge.errors import BasEdgeError, InputError

__all__ = ["make_folder", "replace_atomically"]


def make_folder(folder: Path) -> None:
    """Create the folder where there is none. Raises InputError where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot create {folder}: {error.strerror}.", hint="Choose another output."
        ) from error


def replace_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, then rename it.

    A process that is killed, or a disk that is full, leaves the old file as it was.

    Raises:
        BasEdgeError: The file cannot be written; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # as the umask has it; some writers are stricter
        write(temporary)
        temporary.chmod(mode)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:  # safetensors wraps the system's errors
        raise BasEdgeError(
            f"Cannot write {path}: {getattr(error, 'strerror', None) or error}.",
            hint="Free some space or choose another output folder.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
