"""Each published set, written once a session; tests that break one write their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_sets import SETS


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name of a layout → its root."""
    return {name: one.make(tmp_path_factory.mktemp(name)) for name, one in SETS.items()}
