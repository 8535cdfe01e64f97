"""One file of a bundle: is it inside, and is it what the manifest recorded?"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from bas_edge.engine.manifest import FileRecord
from bas_edge.errors import EngineCorruptError

__all__ = ["check_file", "sha256", "stays_inside"]


def check_file(folder: Path, record: FileRecord, hint: str) -> None:
    """Hold one file of a bundle against its record; `hint` says what to do about a difference.

    Raises:
        EngineCorruptError: It is missing, lies outside, or has another size or SHA-256.
    """
    relative = PurePosixPath(record.path)
    if not stays_inside(record.path):
        raise EngineCorruptError(
            f"The manifest of {folder} lists '{record.path}', which is outside the engine.",
            hint="Do not use this engine: it was not written by bas-edge.",
        )
    path = folder / relative
    try:
        size = path.stat().st_size
    except OSError:
        raise EngineCorruptError(
            f"{folder} is incomplete: {record.path} is missing.", hint=hint
        ) from None
    if size != record.size_bytes:
        raise EngineCorruptError(
            f"{path} has {size} bytes; the manifest records {record.size_bytes}.", hint=hint
        )
    digest = sha256(path)
    if digest != record.sha256:
        raise EngineCorruptError(
            f"{path} is damaged: its SHA-256 is {digest[:12]}…; "
            f"the manifest records {record.sha256[:12]}….",
            hint=hint,
        )


def stays_inside(path: str) -> bool:
    """Whether a path from a manifest is relative and leads to no place outside."""
    relative = PurePosixPath(path)
    unsafe = relative.is_absolute() or ".." in relative.parts or "\\" in path or ":" in path
    return bool(relative.parts) and not unsafe


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
