"""PxAP and peak IoU, bit for bit: cases worked by hand, and a slow reference.

The reference follows the definition: at each threshold of wsolevaluation's grid, 0, 0.001, …
0.999, 1, 2, the pixels at or above it are foreground.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics.bas_protocol import BasProtocol
from bas_edge.metrics.pixels import PIXEL_THRESHOLDS, PixelAccuracy, PixelCurve

Image = tuple[NDArray[np.float64], NDArray[np.uint8]]


def measure(*images: tuple[Sequence[Sequence[float]], Sequence[Sequence[int]]]) -> PixelAccuracy:
    curve = PixelCurve()
    for scores, mask in images:
        curve.add(np.array(scores, np.float64), np.array(mask, np.uint8))
    return curve.accuracy()


def reference(images: Sequence[Image]) -> tuple[float, float, float]:
    """PxAP, peak IoU and its lowest threshold, from the definition, in a loop."""
    scores = np.concatenate([scores[mask != 255] for scores, mask in images])
    truth = np.concatenate([mask[mask != 255] == 1 for _, mask in images])
    points = []  # (threshold, precision or None, recall, IoU), highest threshold first
    for threshold in [2.0, 1.0, *PIXEL_THRESHOLDS[::-1]]:
        chosen = scores >= threshold
        both = int((chosen & truth).sum())
        precision = both / int(chosen.sum()) if chosen.any() else None
        points.append(
            (threshold, precision, both / int(truth.sum()), both / int((chosen | truth).sum()))
        )
    steps = [
        precision * (recall - before)
        for (_, precision, recall, _), (_, _, before, _) in zip(points[1:], points, strict=False)
        if precision is not None
    ]
    peak = max(point[3] for point in points)
    lowest = min(point[0] for point in points if point[3] == peak)
    return 100 * float(np.array(steps).sum()), 100 * peak, lowest


def test_a_map_that_is_the_mask() -> None:
    found = measure(([[1.0, 1.0, 0.0, 0.0]], [[1, 1, 0, 0]]))
    # (0, 1] all separate the two; 0.001 is the lowest of the grid.
    assert found == PixelAccuracy(px_ap=100.0, peak_iou=100.0, threshold=0.001)


def test_one_wrong_pixel_above_the_object() -> None:
    found = measure(([[1.0, 0.5, 0.5, 0.0]], [[0, 1, 1, 0]]))
    # ≥ 1: the wrong one alone. ≥ 0.5: 2 of 3, recall 1. ≥ 0: 2 of 4, no recall to gain.
    assert found.px_ap == 100 * (2 / 3)
    assert found.peak_iou == 100 * (2 / 3)
    assert found.threshold == 0.001


def test_recall_in_two_steps() -> None:
    found = measure(([[0.9, 0.6, 0.3, 0.1]], [[1, 0, 1, 0]]))
    assert found.px_ap == 100 * (1.0 * 0.5 + (2 / 3) * 0.5)
    assert found.peak_iou == 100 * (2 / 3)
    assert found.threshold == PIXEL_THRESHOLDS[101]


def test_ignored_pixels_count_for_nothing() -> None:
    clean = measure(([[0.9, 0.1]], [[1, 0]]))
    assert measure(([[0.9, 0.1, 1.0, 0.0]], [[1, 0, 255, 255]])) == clean


def test_pixels_of_all_images_are_one_pool() -> None:
    """Not a mean over images: a large object weighs more."""
    one = measure(([[1.0, 0.0]], [[1, 0]]), ([[0.0, 1.0, 1.0, 1.0]], [[1, 0, 0, 0]]))
    assert one.px_ap == 100 * (0.25 * 0.5 + (2 / 6) * 0.5)


def test_a_flat_map_gives_the_share_of_foreground() -> None:
    found = measure(([[0.0] * 4], [[1, 0, 0, 0]]))
    assert (found.px_ap, found.peak_iou, found.threshold) == (25.0, 25.0, 0.0)


def test_scores_at_the_edges_of_bins() -> None:
    """A score on a threshold is at or above it; the next float below it is not."""
    edge = float(PIXEL_THRESHOLDS[300])  # 0.3 in the grid's own arithmetic
    below = float(np.nextafter(edge, 0))
    found = measure(([[edge, below]], [[1, 0]]))
    assert (found.peak_iou, found.threshold) == (100.0, edge)
    assert measure(([[below, edge]], [[1, 0]])).peak_iou == 50.0


SCORES = st.one_of(
    st.floats(0, 1), st.sampled_from([0.0, 1.0, *(float(PIXEL_THRESHOLDS[n]) for n in (1, 3, 999))])
)


@st.composite
def images(draw: st.DrawFn) -> Image:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))
    scores = draw(hnp.arrays(np.float64, shape, elements=SCORES))
    mask = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 255])))
    return scores, mask


@settings(max_examples=40)
@given(st.lists(images(), min_size=1, max_size=4))
@example([(np.array([[0.2]]), np.array([[1]], np.uint8))])
@example([(np.array([[1.0, 1.0]]), np.array([[1, 0]], np.uint8))])
def test_the_slow_reference_agrees_bit_for_bit(found: list[Image]) -> None:
    curve = PixelCurve()
    for scores, mask in found:
        curve.add(scores, mask)
    if not any((mask == 1).any() for _, mask in found):
        with pytest.raises(InputError, match="no foreground pixel in any mask"):
            curve.accuracy()
        return
    accuracy = curve.accuracy()
    assert (accuracy.px_ap, accuracy.peak_iou, accuracy.threshold) == reference(found)


@settings(max_examples=30)
@given(hnp.arrays(np.float64, st.integers(0, 50), elements=SCORES))
def test_bins_are_those_of_numpys_histogram(scores: NDArray[np.float64]) -> None:
    """wsolevaluation counts with np.histogram on the same edges."""
    edges = np.append(list(np.arange(0, 1, 0.001)), [1.0, 2.0, 3.0])
    curve = PixelCurve()
    curve.add(np.append(scores, 1.0)[None], np.ones((1, len(scores) + 1), np.uint8))
    np.testing.assert_array_equal(
        curve.foreground, np.histogram(np.append(scores, 1.0), bins=edges)[0]
    )


def test_what_cannot_be_counted_is_refused() -> None:
    curve = PixelCurve()
    for scores, mask, message in (
        (np.zeros((2, 2)), np.zeros((2, 3), np.uint8), "scores have shape [2, 2] and the mask [2"),
        (np.full((1, 1), 1.5), np.zeros((1, 1), np.uint8), "not within 0..1"),
        (np.full((1, 1), np.nan), np.zeros((1, 1), np.uint8), "not within 0..1"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            curve.add(scores, mask)


MAPS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=5),
    elements=st.floats(-8, 8, width=32),
)


@settings(max_examples=30)
@given(MAPS)
@example(np.full((2, 2), 3, np.float32))
def test_scores_of_both_protocols(foreground: NDArray[np.float32]) -> None:
    """0..1 over the input; "wsoleval" as that code resizes and scales its maps."""
    scores = BasProtocol((8, 6)).pixel_scores(foreground)
    assert scores.shape == (8, 6)
    assert 0 <= scores.min() <= scores.max() <= 1
    cv2 = pytest.importorskip("cv2")
    from bas_edge.metrics.wsoleval_protocol import WsolevalProtocol

    cam = cv2.resize(foreground.astype(np.float64), (6, 8), interpolation=cv2.INTER_CUBIC)
    expected = np.zeros_like(cam)
    if cam.min() != cam.max():
        expected = cam - cam.min()
        expected /= expected.max()
    np.testing.assert_array_equal(WsolevalProtocol((8, 6)).pixel_scores(foreground), expected)


def test_scores_of_a_flat_map_are_zero() -> None:
    assert not BasProtocol((4, 4)).pixel_scores(np.full((2, 2), 3, np.float32)).any()
