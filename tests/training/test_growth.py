"""Masks of every area for one object: exact areas, one inside the next, deepest pixels first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge_training.analysis.growth import box_mask, grow, squared_distances

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
OBJECTS = MASKS.filter(lambda mask: bool(mask.any()))
RATIOS = st.lists(st.floats(0, 4), min_size=2, max_size=5).map(sorted)


def drawn(*rows: str) -> NDArray[np.bool_]:
    return np.array([[cell == "#" for cell in row] for row in rows])


def slow_distances(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The definition: every pixel against every pixel of the mask."""
    height, width = mask.shape
    own = np.argwhere(mask)
    return np.array(
        [[((own - (y, x)) ** 2).sum(1).min() for x in range(width)] for y in range(height)]
    )


@given(mask=OBJECTS)
def test_distances_are_those_of_the_definition(mask: NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(squared_distances(mask), slow_distances(mask))


@given(mask=OBJECTS, ratios=RATIOS)
@example(mask=np.ones((3, 5), np.bool_), ratios=[0.0, 0.5, 1.0, 1.5])  # nothing is outside
@example(mask=drawn("#..", "...", "..#"), ratios=[0.4, 1.0, 2.0])  # in two parts
def test_areas_are_exact_and_each_mask_lies_in_the_next(
    mask: NDArray[np.bool_], ratios: list[float]
) -> None:
    growing, area = grow(mask), int(mask.sum())
    before = np.zeros_like(mask)
    for ratio in ratios:
        now = growing.mask(ratio)
        assert now.sum() == min(int(np.floor(ratio * area + 0.5)), mask.size)
        assert not (before & ~now).any()
        assert not (now & ~mask).any() if ratio <= 1 else not (mask & ~now).any()
        before = now
    np.testing.assert_array_equal(growing.mask(1), mask)


@given(mask=OBJECTS, ratio=st.floats(0, 1))
def test_erosion_takes_away_what_is_nearest_to_the_outside(
    mask: NDArray[np.bool_], ratio: float
) -> None:
    depth = slow_distances(~np.pad(mask, 1))[1:-1, 1:-1]
    kept = grow(mask).mask(ratio)
    if kept.any() and (mask & ~kept).any():
        assert depth[kept].min() >= depth[mask & ~kept].max()


@given(mask=OBJECTS, ratio=st.floats(1, 4))
def test_dilation_adds_what_is_nearest_to_the_object(mask: NDArray[np.bool_], ratio: float) -> None:
    away = slow_distances(mask)
    taken = grow(mask).mask(ratio)
    if (taken & ~mask).any() and not taken.all():
        assert away[taken].max() <= away[~taken].min()


def test_a_square_erodes_to_smaller_squares_and_dilates_round() -> None:
    square = drawn(".......", ".......", "..###..", "..###..", "..###..", ".......", ".......")
    growing = grow(square)
    centre = drawn(".......", ".......", ".......", "...#...", ".......", ".......", ".......")
    cross = drawn(".......", "..###..", ".#####.", ".#####.", ".#####.", "..###..", ".......")
    np.testing.assert_array_equal(growing.mask(1 / 9), centre)
    np.testing.assert_array_equal(growing.mask(21 / 9), cross)
    assert growing.mask(5.5).all()  # 49.5 of 49 pixels
    assert not growing.mask(0.05).any()  # 0.45 of a pixel


def test_at_the_frames_edge_what_is_beyond_is_outside() -> None:
    np.testing.assert_array_equal(grow(drawn("###", "...")).mask(1 / 3), drawn(".#.", "..."))


def test_an_empty_mask_grows_nowhere() -> None:
    with pytest.raises(ValueError, match="no pixel"):
        grow(np.zeros((2, 2), np.bool_))


def test_boxes_are_drawn_by_pixel_centres() -> None:
    # A frame of 8 × 4 on an input of 4 × 4: centres at x = 1, 3, 5, 7 and y = 0.5 … 3.5.
    boxes = np.array([[1.0, 0.6, 5.0, 2.5], [7.0, 0.0, 8.0, 1.0]])
    expected = drawn("...#", "##..", "....", "....")
    np.testing.assert_array_equal(box_mask(boxes, (4, 8), (4, 4)), expected)
    assert not box_mask(np.array([[1.1, 0.0, 2.9, 4.0]]), (4, 8), (4, 4)).any()
