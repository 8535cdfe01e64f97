"""TensorRT's timing cache in a file: a second build of the same layers measures nothing again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bas_edge.errors import InputError

__all__ = ["attach_timing_cache", "save_timing_cache"]

_LIMIT_BYTES = 1 << 30


def attach_timing_cache(config: Any, path: Path | None, note: Callable[[str], None]) -> Any | None:
    """Give `config` the cache in `path`, or an empty one where there is no such file yet.

    A cache of another GPU or TensorRT is not used, and `note` says so.

    Raises:
        InputError: The file cannot be read, is too large to be a cache, or has no folder.
    """
    if path is None:
        return None
    if not path.parent.is_dir():
        raise InputError(
            f"Cannot write the timing cache {path}: the folder {path.parent} does not exist.",
            hint=f"mkdir -p {path.parent}",
        )
    try:
        if path.exists() and path.stat().st_size > _LIMIT_BYTES:
            raise InputError(
                f"{path} has {path.stat().st_size} bytes; a timing cache has at most "
                f"{_LIMIT_BYTES}.",
                hint="Give another file to --timing-cache.",
            )
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise InputError(f"Cannot read the timing cache {path}: {error.strerror}.") from None
    cache = config.create_timing_cache(content)
    if cache is not None and config.set_timing_cache(cache, False):
        return cache
    note(f"The timing cache {path} is of another GPU or TensorRT; a new one replaces it.")
    cache = config.create_timing_cache(b"")
    config.set_timing_cache(cache, False)
    return cache


def save_timing_cache(config: Any, path: Path, note: Callable[[str], None]) -> None:
    """Write the cache back: readers see the old file or the new one.

    The engine is built by then, so a file that cannot be written is a note and no error.
    """
    content = bytes(config.get_timing_cache().serialize())
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        note(f"The timing cache {path} could not be written: {error.strerror}.")
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
