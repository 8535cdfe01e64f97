"""Shapes that are hard to label, as maps of the size of the frame: nothing is resampled."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bas_edge.ops import maps_to_boxes, maps_to_masks, reference

Mask = NDArray[np.bool_]


def spiral(side: int) -> Mask:
    """One pixel wide, with a gap of one pixel between its turns."""
    mask = np.zeros((side, side), np.bool_)
    x0, y0, x1, y1 = 0, 0, side - 1, side - 1
    mask[y0, x0 : x1 + 1] = True
    while x1 - x0 >= 2 and y1 - y0 >= 2:
        mask[y0 : y1 + 1, x1] = True
        mask[y1, x0 : x1 + 1] = True
        y0 += 2
        mask[y0 : y1 + 1, x0] = True
        x1 -= 2
        mask[y0, x0 : x1 + 1] = True
        x0, y1 = x0 + 2, y1 - 2
    return mask


def comb(height: int, width: int, *, open_at_top: bool) -> Mask:
    """Teeth that meet in the last row (many late unions), or in the first."""
    mask = np.zeros((height, width), np.bool_)
    mask[:, ::2] = True
    mask[-1 if open_at_top else 0] = True
    return mask


def ring(height: int, width: int) -> Mask:
    """Touches all four borders, around a smaller component."""
    mask = np.zeros((height, width), np.bool_)
    mask[[0, -1]] = True
    mask[:, [0, -1]] = True
    mask[height // 3 : height // 2, width // 3 : width // 2] = True
    return mask


def checkerboard(height: int, width: int) -> Mask:
    """Connected through corners alone."""
    return np.indices((height, width)).sum(axis=0) % 2 == 0


def zigzag(height: int, width: int) -> Mask:
    """A diagonal that goes back and forth, over the borders of 64-bit words."""
    mask = np.zeros((height, width), np.bool_)
    x = np.abs((np.arange(height) + width - 1) % (2 * width - 2) - (width - 1))
    mask[np.arange(height), x] = True
    return mask


def twins(height: int, width: int) -> Mask:
    """Two components of one size; the one that starts higher lies to the right."""
    mask = np.zeros((height, width), np.bool_)
    mask[1:3, width - 3 :] = True
    mask[2:4, :3] = True
    return mask


def noise(height: int, width: int) -> Mask:
    return np.random.default_rng(width).random((height, width)) < 0.4


SHAPES = {
    "spiral": spiral(33),
    "spiral over words": spiral(131),
    "comb open at top": comb(9, 67, open_at_top=True),
    "comb open at bottom": comb(9, 67, open_at_top=False),
    "ring": ring(24, 40),
    "ring over words": ring(40, 129),
    "checkerboard": checkerboard(17, 65),
    "zigzag": zigzag(300, 130),
    "twins": twins(12, 70),
    "row": np.pad(np.ones((1, 128), np.bool_), ((1, 1), (0, 0))),
    "column": np.pad(np.ones((90, 1), np.bool_), ((0, 0), (63, 1))),
    **{f"noise {width}": noise(31, width) for width in (31, 32, 33, 63, 64, 65, 127, 128, 129)},
}


def as_map(mask: Mask) -> NDArray[np.float32]:
    return mask.astype(np.float32)[None]


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_to_reference(path: str, shape: str) -> None:
    foreground, size = as_map(SHAPES[shape]), SHAPES[shape].shape
    got = maps_to_boxes(foreground, size, 0.5, max_boxes=5)
    expected = reference.maps_to_boxes(foreground, size, 0.5, max_boxes=5)
    np.testing.assert_array_equal(got.boxes, expected.boxes)
    np.testing.assert_array_equal(got.areas, expected.areas)
    np.testing.assert_array_equal(
        maps_to_masks(foreground, size, 0.5), reference.maps_to_masks(foreground, size, 0.5)
    )


@pytest.mark.parametrize(
    "shape", ["spiral", "spiral over words", "comb open at top", "checkerboard", "zigzag"]
)
def test_is_one_component(path: str, shape: str) -> None:
    mask = SHAPES[shape]
    got = maps_to_boxes(as_map(mask), mask.shape, 0.5, max_boxes=2)
    assert got.count[0] == 1
    assert got.areas[0, 0] == mask.sum()
    np.testing.assert_array_equal(maps_to_masks(as_map(mask), mask.shape, 0.5)[0], mask)


def test_ring_touches_all_borders(path: str) -> None:
    got = maps_to_boxes(as_map(ring(24, 40)), (24, 40), 0.5)
    assert got.boxes[0, 0].tolist() == [0, 0, 40, 24]
    assert got.found[0]


def test_equal_sizes_go_to_the_first_in_raster_order(path: str) -> None:
    got = maps_to_boxes(as_map(twins(12, 70)), (12, 70), 0.5, max_boxes=2)
    assert got.areas[0].tolist() == [6, 6]
    assert got.boxes[0].tolist() == [[67, 1, 70, 3], [0, 2, 3, 4]]


@pytest.mark.parametrize("mask", [spiral(4095), noise(4096, 4096)], ids=["spiral", "noise"])
def test_4096_pixels(mask: Mask) -> None:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    best = 1 + stats[1:, 4].argmax()
    x, y, width, height, area = stats[best].tolist()
    got = maps_to_boxes(as_map(mask), mask.shape, 0.5)
    assert got.boxes[0, 0].tolist() == [x, y, x + width, y + height]
    assert got.areas[0, 0] == area
    np.testing.assert_array_equal(maps_to_masks(as_map(mask), mask.shape, 0.5)[0], labels == best)
