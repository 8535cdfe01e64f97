from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from map_cases import MAPS, SIZES, THRESHOLDS, assert_same, one_map
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import Rule, maps_to_boxes, reference, upsample_maps


@settings(max_examples=100, deadline=None)
@given(
    foreground=MAPS,
    size=SIZES,
    threshold=THRESHOLDS,
    rule=st.sampled_from(["fixed", "mean"]),
    min_area=st.integers(1, 9),
    max_boxes=st.integers(1, 4),
)
@example(one_map([[0, 1, 2]]), (1, 3), 0.5, "fixed", 1, 1)  # a pixel exactly on the cut
@example(one_map([[0, 1, 2]]), (1, 3), 1.0, "mean", 1, 1)
@example(one_map([[3, 3], [3, 3]]), (9, 9), 0.0, "fixed", 1, 1)  # flat
@example(one_map([[0.1] * 3] * 3), (99, 101), 0.0, "mean", 1, 1)
@example(one_map([[1]]), (1, 1), 0.0, "fixed", 1, 1)
@example(one_map([[0, 1]]), (1, 2), 0.0, "fixed", 2, 1)  # too small for min_area
@example(one_map([[1, 0, 1, 0, 1]]), (1, 5), 0.5, "fixed", 1, 2)  # three that tie, two slots
@example(one_map([[-3e38, 3e38]]), (3, 8), 0.5, "fixed", 1, 1)  # the range is beyond float32
@example(one_map([[-3e38, 3e38]]), (3, 8), 0.0, "mean", 1, 1)
@example(one_map([[1e-45, 0]]), (2, 5), 0.5, "fixed", 1, 1)  # subnormal
def test_equal_to_reference(
    path: str,
    foreground: NDArray[np.float32],
    size: tuple[int, int],
    threshold: float,
    rule: Rule,
    min_area: int,
    max_boxes: int,
) -> None:
    options = {"rule": rule, "min_area": min_area, "max_boxes": max_boxes}
    assert_same(
        maps_to_boxes(foreground, size, threshold, **options),
        reference.maps_to_boxes(foreground, size, threshold, **options),
    )


def test_one_threshold_for_each_image(path: str) -> None:
    foreground = np.repeat(np.arange(5, dtype=np.float32).reshape(1, 1, 5), 4, axis=0)
    thresholds = np.array([0, 0.25, 0.5, 0.75], np.float32)
    got = maps_to_boxes(foreground, (1, 5), thresholds)
    assert got.boxes[:, 0, 0].tolist() == [1, 2, 3, 4]
    assert_same(got, reference.maps_to_boxes(foreground, (1, 5), thresholds))


def test_a_pixel_exactly_on_the_cut_is_out(path: str) -> None:
    got = maps_to_boxes(one_map([[0, 1, 2]]), (1, 3), 0.5)
    assert got.boxes[0, 0].tolist() == [2, 0, 3, 1]
    below = np.nextafter(np.float32(0.5), np.float32(0))
    assert maps_to_boxes(one_map([[0, 1, 2]]), (1, 3), below).boxes[0, 0].tolist() == [1, 0, 3, 1]


def test_no_foreground_is_the_whole_frame(path: str) -> None:
    got = maps_to_boxes(np.ones((2, 3, 3), np.float32), (20, 30), 0.0, max_boxes=2)
    assert got.boxes.tolist() == [[[0, 0, 30, 20], [0, 0, 0, 0]]] * 2
    assert got.areas.tolist() == [[0, 0]] * 2
    assert got.found.tolist() == [False, False]
    assert got.count.tolist() == [0, 0]
    assert len(got) == 2


@pytest.mark.parametrize("rule", ["fixed", "mean"])
def test_large_frame_from_a_small_map(path: str, rule: Rule) -> None:
    """4096 pixels: too many for the reference, so OpenCV labels the pixels of upsample_maps."""
    foreground = np.random.default_rng(0).random((1, 57, 61), dtype=np.float32)
    got = maps_to_boxes(foreground, (4096, 4096), 0.875, rule=rule)
    d = foreground[0] - foreground[0].min()
    scale = np.ptp(foreground)
    if rule == "mean":
        scale = np.add.accumulate(np.add.accumulate(d, axis=1)[:, -1])[-1] / np.float32(d.size)
    pixels = upsample_maps(foreground, (4096, 4096))[0] - foreground.min()
    mask = (pixels > np.float32(0.875) * scale).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    x, y, width, height, area = stats[1 + stats[1:, 4].argmax()].tolist()
    assert got.boxes[0, 0].tolist() == [x, y, x + width, y + height]
    assert got.areas[0, 0] == area


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("cell", [0, 17, 34])
def test_nan_and_inf_name_the_first_image(path: str, bad: float, cell: int) -> None:
    foreground = np.zeros((6, 5, 7), np.float32)
    foreground[3:].reshape(3, -1)[:, cell] = bad
    for threads in (1, 3):
        with pytest.raises(InputError, match=r"foreground\[3\] holds NaN or Inf"):
            maps_to_boxes(foreground, (8, 8), 0.5, threads=threads)
