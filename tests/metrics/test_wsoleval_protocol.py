"""The published evaluation, on maps small enough to read.

Expected boxes follow from the protocol's definition in docs/evaluation.md: strict cut, contours
of 8-connected regions, exclusive far corner clipped to the last pixel.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.errors import MissingExtraError
from bas_edge.evaluation import localization_report
from bas_edge.evaluation_report import describe_threshold
from bas_edge.metrics import wsoleval_protocol
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.max_box_acc import MaxBoxAcc, max_box_acc, max_box_acc_v2
from bas_edge.metrics.protocols import THRESHOLDS
from bas_edge.metrics.wsoleval_protocol import WsolevalProtocol

pytest.importorskip("cv2")

HILL = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [0, 50, 50, 50, 0, 0],
        [0, 50, 99, 99, 99, 99],
        [0, 0, 99, 200, 200, 99],
        [0, 0, 0, 0, 0, 0],
    ],
    np.uint8,
)


@pytest.mark.parametrize(
    ("cut", "box"),
    [
        (0, [1, 1, 5, 4]),  # x1 would be 6; the last column is 5
        (49, [1, 1, 5, 4]),
        (50, [2, 2, 5, 4]),  # strict: 50 itself is out
        (99, [3, 3, 5, 4]),
        (200, [0, 0, 0, 0]),
    ],
)
def test_one_hill(cut: int, box: list[int]) -> None:
    np.testing.assert_array_equal(WsolevalProtocol((5, 6)).boxes(HILL, cut), [box])


def test_far_corner_at_the_last_row_is_clipped_too() -> None:
    full = np.full((3, 4), 9, np.uint8)
    np.testing.assert_array_equal(WsolevalProtocol((3, 4)).boxes(full, 0), [[0, 0, 3, 2]])


def test_contour_area_and_not_pixel_count_decides_the_largest() -> None:
    score = np.zeros((10, 12), np.uint8)
    score[1, 0:9] = 255  # nine pixels, but a line encloses no area
    score[5:8, 3:6] = 255  # nine pixels that enclose four
    boxes = WsolevalProtocol((10, 12)).boxes(score, 0)
    assert boxes[0].tolist() == [3, 5, 6, 8]
    assert sorted(boxes.tolist()) == [[0, 1, 9, 2], [3, 5, 6, 8]]


def test_the_hole_of_a_ring_is_a_box_of_its_own_for_v2() -> None:
    score = np.zeros((12, 12), np.uint8)
    score[1:11, 1:11] = 255
    score[4:8, 4:8] = 0
    boxes = WsolevalProtocol((12, 12)).boxes(score, 0)
    assert boxes[0].tolist() == [1, 1, 11, 11]
    assert boxes[1].tolist() == [3, 3, 9, 9]  # a hole's contour runs on the pixels round it


@settings(max_examples=20, deadline=None)
@given(mask=hnp.arrays(np.bool_, (7, 8)))
def test_every_region_has_its_box_among_the_contours(mask: NDArray[np.bool_]) -> None:
    from skimage.measure import label, regionprops

    boxes = WsolevalProtocol((7, 8)).boxes(mask.astype(np.uint8), 0)
    for region in regionprops(label(mask, connectivity=2)):
        y0, x0, y1, x1 = region.bbox
        assert [x0, y0, min(x1, 7), min(y1, 6)] in boxes.tolist()


def test_score_map_spans_zero_to_255_and_a_flat_map_is_zero() -> None:
    protocol = WsolevalProtocol((16, 16))
    ramp = protocol.score_map(np.linspace(-3, 9, 16, dtype=np.float32).reshape(4, 4))
    assert (ramp.min(), ramp.max(), ramp.shape) == (0, 255, (16, 16))
    assert not protocol.score_map(np.full((4, 4), 0.7, np.float32)).any()


def test_annotated_boxes_are_resized_and_truncated() -> None:
    truth = GroundTruth.stretched([np.array([[1.0, 2, 4, 3]])], [(20, 10)], (10, 35))
    np.testing.assert_array_equal(WsolevalProtocol((10, 35)).truth_boxes(truth), [[[3, 1, 14, 1]]])
    edge = GroundTruth.stretched([np.array([[0.0, 0, 10, 20]])], [(20, 10)], (10, 35))
    np.testing.assert_array_equal(WsolevalProtocol((10, 35)).truth_boxes(edge), [[[0, 0, 31, 9]]])


def test_largest_and_best_box_give_v1_and_v2() -> None:
    maps = np.zeros((1, 32, 32), np.float32)
    maps[0, 2:20, 2:20] = 1.0
    maps[0, 24:30, 24:30] = 0.9
    truth = GroundTruth.stretched([np.array([[24.0, 24, 30, 30]])], [(32, 32)], (32, 32))
    protocol = WsolevalProtocol((32, 32))
    sweep = protocol.sweep(maps, truth, THRESHOLDS)
    assert max_box_acc(sweep, THRESHOLDS, protocol).accuracy == 0.0
    v2 = max_box_acc_v2(sweep, THRESHOLDS, protocol)
    assert v2.mean == 100.0
    assert sweep.best[50, 0] == 1.0


def test_the_grid_finds_what_a_thousand_thresholds_find() -> None:
    """wsolevaluation tries 0, 0.001, … 0.999; on 256 grey levels many of them cut alike."""
    protocol = WsolevalProtocol((28, 28))
    rng = np.random.default_rng(1)
    maps = rng.random((2, 7, 7)).astype(np.float32)
    truth = GroundTruth.stretched([np.array([[2.0, 2, 9, 9]])] * 2, [(14, 14)] * 2, (28, 28))
    published = np.arange(0, 1, 0.001)
    assert np.isin(protocol.thresholds, published).all()
    same = np.searchsorted(protocol.thresholds, published, side="right") - 1
    for one in ("largest", "best"):
        np.testing.assert_array_equal(
            getattr(protocol.sweep(maps, truth, protocol.thresholds), one)[same],
            getattr(protocol.sweep(maps, truth, published), one),
        )


def test_a_report_looks_at_every_grey_level() -> None:
    """The object stands out from what is round it by one level of 255, between 0.50 and 0.51."""
    foreground = np.zeros((1, 32, 32), np.float32)
    foreground[0, 1:31, 1:31] = 128.5 / 255
    foreground[0, 8:20, 8:20] = 129.5 / 255
    foreground[0, 10, 10] = 1.0
    truth = GroundTruth.stretched([np.array([[8.0, 8, 20, 20]])], [(32, 32)], (32, 32))
    report = localization_report(
        WsolevalProtocol((32, 32)),
        foreground,
        truth,
        np.zeros(1, np.int64),
        ["one"],
        ThresholdPolicy(rule="fixed", value=0.5),
        "drawn",
    )
    assert report.max_box_acc == MaxBoxAcc(accuracy=100.0, threshold=pytest.approx(0.502))
    assert report.oracle.localization.gt_known == 100.0
    assert describe_threshold(report.oracle.threshold) == "fixed 0.502"
    assert describe_threshold(report.stored.threshold) == "fixed 0.50"


def test_an_iou_of_exactly_the_level_is_enough() -> None:
    protocol = WsolevalProtocol((8, 8))
    np.testing.assert_array_equal(protocol.correct(np.array([0.49, 0.5]), 0.5), [False, True])


def test_sweep_equals_single_cuts_and_the_mean_rule_scales_by_the_mean() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((3, 7, 7)).astype(np.float32)
    truth = GroundTruth.stretched([np.array([[2.0, 2, 9, 9]])] * 3, [(14, 14)] * 3, (28, 28))
    protocol = WsolevalProtocol((28, 28))
    grid = np.array([0.1, 0.4, 0.4001, 0.8])
    sweep = protocol.sweep(maps, truth, grid)
    for t, threshold in enumerate(grid):
        np.testing.assert_array_equal(sweep.best[t], protocol.ious(maps, truth, threshold).best)
    low, high = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
    means = (maps.mean(axis=(1, 2)) - low) / (high - low)
    np.testing.assert_array_equal(
        protocol.ious(maps, truth, 1.3, "mean").largest,
        protocol.ious(maps, truth, 1.3 * means).largest,
    )


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_ious_stay_in_range(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(2, 5, 6)).astype(np.float32)
    truth = GroundTruth.stretched([np.array([[1.0, 1, 20, 9]])] * 2, [(10, 30)] * 2, (20, 24))
    sweep = WsolevalProtocol((20, 24)).sweep(maps, truth, THRESHOLDS[::10])
    assert ((sweep.largest >= 0) & (sweep.largest <= sweep.best) & (sweep.best <= 1)).all()


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str, *, extra: str, purpose: str) -> None:
        raise MissingExtraError(module, extra=extra, purpose=purpose)

    monkeypatch.setattr(wsoleval_protocol, "require", absent)
    with pytest.raises(MissingExtraError) as caught:
        WsolevalProtocol((8, 8))
    assert caught.value.hint == "pip install 'bas-edge[wsoleval]'"
