"""Foreground maps for the tests of `maps_to_boxes`, on the CPU and on a GPU."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge.ops import Boxes

# Few values, so that pixels fall exactly on the cut and components tie; and any values.
CELLS = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(-8, 8, width=32)
MAPS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=13), elements=CELLS)
SIZES = st.tuples(st.integers(1, 30), st.integers(1, 70))
THRESHOLDS = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 3, width=32)


def assert_same(got: Boxes, expected: Boxes) -> None:
    for field in ("boxes", "areas", "found", "count"):
        np.testing.assert_array_equal(getattr(got, field), getattr(expected, field), field)
        assert getattr(got, field).dtype == getattr(expected, field).dtype


def one_map(rows: list[list[float]]) -> NDArray[np.float32]:
    return np.array([rows], np.float32)
