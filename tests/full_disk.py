"""A disk that is full, for tests of what is written: the system really refuses."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def full_disk(size: int = 0) -> Iterator[None]:
    """In this block no file of this process grows beyond so many bytes.

    A write that reaches there writes a part, and the next one fails, as on a full disk.
    """
    if sys.platform == "win32":
        pytest.skip("this system has no limit for the size of files")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
