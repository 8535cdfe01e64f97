"""Whether the machine has the memory to build an engine, before it starts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from bas_edge.errors import InputError

__all__ = ["available_bytes", "check_memory", "shares_memory_with_gpu"]

_MEMINFO = Path("/proc/meminfo")
_BOARD = Path("/proc/device-tree/model")
# What a build holds at once: the library, and the weights as parsed, as optimized, in the plan and
# in copies of it. Measured with TensorRT-RTX 1.7 on models of 15 to 111 MB.
_LIBRARY_BYTES = 300 << 20
_COPIES_OF_THE_MODEL = 5


def available_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not tell."""
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB", _MEMINFO.read_text(encoding="ascii"), re.M)
    except (OSError, ValueError):
        return None
    return int(found[1]) * 1024 if found else None


def shares_memory_with_gpu() -> bool:
    """Whether this is a Jetson, whose GPU works in the same memory."""
    try:
        return "jetson" in _BOARD.read_text(encoding="utf-8", errors="replace").lower()
    except OSError:
        return False


def check_memory(
    model_bytes: int, workspace_bytes: int | None, note: Callable[[str], None]
) -> int | None:
    """The workspace to build with; None leaves it to the library.

    On a Jetson, scratch memory comes out of the same memory as everything else, and a build that
    takes too much is killed without a word: there it is half of what is free by default.

    Raises:
        InputError: The workspace alone is more than what is free, on a Jetson.
    """
    available = available_bytes()
    if available is None:
        return workspace_bytes
    shared = shares_memory_with_gpu()
    if shared and workspace_bytes is None:
        workspace_bytes = available // 2
        note(
            f"{available >> 20} MiB are free, which the GPU shares: building with a workspace of "
            f"{workspace_bytes >> 20} MiB."
        )
    needed = _LIBRARY_BYTES + _COPIES_OF_THE_MODEL * model_bytes
    needed += (workspace_bytes or 0) if shared else 0
    if shared and workspace_bytes is not None and workspace_bytes > available:
        raise InputError(
            f"A workspace of {workspace_bytes >> 20} MiB does not fit: "
            f"{available >> 20} MiB are free, which the GPU shares.",
            hint=f"--workspace {available >> 21}MiB, or close other programs.",
        )
    if needed > available:
        note(
            f"The build may need {needed >> 20} MiB, and {available >> 20} MiB are free: it may "
            "swap, or be killed."
        )
    return workspace_bytes
