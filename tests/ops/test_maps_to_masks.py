from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import Rule, maps_to_boxes, maps_to_masks, reference

MAPS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=9),
    elements=st.sampled_from([0.0, 0.5, 1.0]) | st.floats(-8, 8, width=32),
)


@settings(max_examples=60, deadline=None)
@given(
    foreground=MAPS,
    size=st.tuples(st.integers(1, 30), st.integers(1, 70)),
    threshold=st.floats(0, 2, width=32),
    rule=st.sampled_from(["fixed", "mean"]),
)
@example(np.ones((1, 3, 3), np.float32), (9, 9), 0.0, "fixed")  # flat
@example(np.array([[[1, 0, 1]]], np.float32), (1, 3), 0.5, "fixed")  # a tie
def test_equal_to_reference_and_to_the_box(
    path: str,
    foreground: NDArray[np.float32],
    size: tuple[int, int],
    threshold: float,
    rule: Rule,
) -> None:
    masks = maps_to_masks(foreground, size, threshold, rule=rule)
    assert masks.dtype == np.bool_
    np.testing.assert_array_equal(
        masks, reference.maps_to_masks(foreground, size, threshold, rule=rule)
    )
    found = maps_to_boxes(foreground, size, threshold, rule=rule)
    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), found.areas[:, 0])
    for mask, (x0, y0, x1, y1) in zip(masks[found.found], found.boxes[found.found, 0], strict=True):
        inside = mask[y0:y1, x0:x1]
        assert inside.sum() == mask.sum()
        assert inside[[0, -1]].any(axis=1).all()  # the box is tight
        assert inside[:, [0, -1]].any(axis=0).all()


def test_nan_is_an_error(path: str) -> None:
    foreground = np.zeros((2, 3, 3), np.float32)
    foreground[1, 2, 2] = np.nan
    with pytest.raises(InputError, match=r"foreground\[1\] holds NaN or Inf"):
        maps_to_masks(foreground, (9, 9), 0.5)
