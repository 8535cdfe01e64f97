"""Pipelines leave no thread and no open file behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


def open_descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    before = {thread.ident for thread in threading.enumerate()}
    descriptors = open_descriptors()
    yield
    left = [one.name for one in threading.enumerate() if one.ident not in before]
    assert not [name for name in left if name.startswith("bas-edge-")]
    assert open_descriptors() <= descriptors
