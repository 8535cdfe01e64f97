"""What the first bytes of a TensorRT plan say, without TensorRT.

    byte  0  magic: "ftrt" TensorRT, "vtrt" TensorRT for RTX
    byte 24  major, minor, patch, build: one byte each

NVIDIA's own trtexec reads these bytes, but the layout is no promise. A plan with another layout
is therefore "unknown", which is no error: the library has the last word.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bas_edge.errors import EngineCorruptError, EngineMismatchError

__all__ = ["HEADER_BYTES", "PlanHeader", "check_header", "read_header"]

HEADER_BYTES = 64
_MAGICS = {b"ftrt": "tensorrt", b"vtrt": "tensorrt_rtx"}
_LIBRARIES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
_VERSION_AT = 24


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """What a plan is.

    Attributes:
        backend: "tensorrt", "tensorrt_rtx", or "" where the magic is unknown.
        version: Of the library that built it, such as "1.7.1.116"; "" where unknown.
    """

    backend: str
    version: str


def read_header(start: bytes) -> PlanHeader:
    """Read the first HEADER_BYTES of a plan; fewer or other bytes give an unknown header."""
    backend = _MAGICS.get(start[:4], "")
    if not backend or len(start) < HEADER_BYTES or start[4:8] != bytes(4):
        return PlanHeader(backend, "")
    version = start[_VERSION_AT : _VERSION_AT + 4]
    return PlanHeader(backend, ".".join(map(str, version)) if version[0] else "")


def check_header(path: Path, *, backend: str, library_version: str, rebuild: str) -> PlanHeader:
    """Hold a plan's own header against the library that is to load it.

    Args:
        path: The plan.
        backend: Who is to load it: "tensorrt" or "tensorrt_rtx".
        library_version: Of the installed library, such as "10.3.0" or "1.7.1.116".
        rebuild: The command that builds the plan again here, for the hint.

    Raises:
        EngineMismatchError: Another library or another version of it built the plan. Versions
            are compared by major, minor and patch.
        EngineCorruptError: The file is too short to be a plan, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(HEADER_BYTES)
    except OSError as error:
        raise EngineCorruptError(
            f"The plan {path} cannot be read: {error.strerror}.", hint=f"Build it again: {rebuild}"
        ) from None
    if len(start) < HEADER_BYTES:
        raise EngineCorruptError(
            f"The plan {path} has {len(start)} bytes; its header alone has {HEADER_BYTES}.",
            hint=f"Build it again: {rebuild}",
        )
    header = read_header(start)
    if header.backend and header.backend != backend:
        raise EngineMismatchError(
            str(path),
            built_for=_LIBRARIES[header.backend],
            running_on=f"loading it with {_LIBRARIES[backend]}",
            rebuild=rebuild,
        )
    if header.version and _release(header.version) != _release(library_version):
        raise EngineMismatchError(
            str(path),
            built_for=f"{_LIBRARIES[backend]} {header.version}",
            running_on=f"running {_LIBRARIES[backend]} {library_version}",
            rebuild=rebuild,
        )
    return header


def _release(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:3])
