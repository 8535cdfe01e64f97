from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge.ops import reference, upsample_maps

MAPS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=33),
    elements=st.floats(-8, 8, width=32),
)
SIZES = st.tuples(st.integers(1, 130), st.integers(1, 130))


@settings(max_examples=80, deadline=None)
@given(foreground=MAPS, size=SIZES)
@example(foreground=np.ones((1, 1, 1), np.float32), size=(1, 1))
@example(foreground=np.ones((1, 1, 1), np.float32), size=(5, 7))
@example(foreground=np.arange(33, dtype=np.float32).reshape(1, 1, 33), size=(1, 1))  # shrinks
@example(foreground=np.arange(63, dtype=np.float32).reshape(1, 7, 9), size=(7, 9))  # identity
def test_equal_to_reference(
    path: str, foreground: NDArray[np.float32], size: tuple[int, int]
) -> None:
    np.testing.assert_array_equal(
        upsample_maps(foreground, size), reference.upsample_maps(foreground, size)
    )


@pytest.mark.parametrize("cells", range(1, 20))
def test_every_width_of_map(path: str, cells: int) -> None:
    """Around the number of lanes, where windows of whole vectors begin to fit."""
    foreground = np.random.default_rng(cells).random((1, 2, cells), dtype=np.float32)
    for width in (1, cells, cells + 1, 2 * cells, 8 * cells, 61, 64, 67):
        np.testing.assert_array_equal(
            upsample_maps(foreground, (3, width)), reference.upsample_maps(foreground, (3, width))
        )


def test_equal_cells_stay_equal(path: str) -> None:
    foreground = np.full((1, 5, 5), 0.1, np.float32)
    np.testing.assert_array_equal(upsample_maps(foreground, (37, 41)), np.float32(0.1))


@pytest.mark.parametrize("size", [(224, 224), (256, 192), (225, 223)])
def test_within_rounding_of_opencv(path: str, size: tuple[int, int]) -> None:
    """OpenCV fuses or orders the same operations otherwise: four roundings of values up to 1."""
    cells = np.random.default_rng(0).random((28, 28), dtype=np.float32)
    expected = cv2.resize(cells, size[::-1], interpolation=cv2.INTER_LINEAR)
    difference = np.abs(upsample_maps(cells[None], size)[0] - expected)
    assert difference.max() <= 4 * np.finfo(np.float32).eps
