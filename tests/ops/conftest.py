"""Every op is tested on every instruction set that this processor has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bas_edge.ops import _native
from bas_edge.ops.paths import _forced_path


@pytest.fixture(scope="module", params=_native.available_paths())
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once on each path. Of module scope: Hypothesis refuses narrower ones."""
    with _forced_path(request.param):
        yield request.param
