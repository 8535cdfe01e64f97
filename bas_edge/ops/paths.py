"""Which SIMD path the native code runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bas_edge.ops import _native

__all__ = ["active_path"]


def active_path() -> str:
    """Name of the SIMD path in use: "avx2", "sse4.1", "neon" or "scalar".

    The fastest this processor has, chosen when the module is first used. Every path gives
    the same bits.
    """
    return _native.active_path()


@contextmanager
def _forced_path(name: str) -> Iterator[None]:
    """For tests: run every call of the process on one path, then on the former one again."""
    former = _native.active_path()
    _native.set_path(name)
    try:
        yield
    finally:
        _native.set_path(former)
