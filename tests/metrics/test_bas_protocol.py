from __future__ import annotations

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from bas_edge.engine.manifest import InputPolicy
from bas_edge.metrics.bas_protocol import BasProtocol
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.iou import box_iou
from bas_edge.metrics.max_box_acc import max_box_acc, max_box_acc_v2

SIZE = (9, 11)
GRID = np.array([0.0, 0.2, 0.5, 0.9])
MAPS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.just(SIZE[0]), st.just(SIZE[1])),
    elements=st.integers(0, 4).map(float),
)


def slow_box(cells: NDArray[np.float32], threshold: float) -> tuple[int, int, int, int]:
    """The published steps on a map that needs no upsampling, with scikit-image."""
    span = cells.max() - cells.min()
    mask = (cells - cells.min()) > np.float32(threshold) * span
    regions = regionprops(label(mask, connectivity=2))
    if not regions:
        return (0, 0, SIZE[1], SIZE[0])
    y0, x0, y1, x1 = max(regions, key=lambda region: region.area).bbox
    return (x0, y0, x1, y1)


@settings(max_examples=10, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(maps=MAPS, data=st.data())
def test_max_box_acc_v2_equals_a_slow_computation(
    maps: NDArray[np.float32], data: st.DataObject
) -> None:
    rows = st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(6, 11), st.integers(5, 9))
    boxes = [np.array(data.draw(st.lists(rows, min_size=1, max_size=3)), np.float64) for _ in maps]
    truth = GroundTruth.stretched(boxes, [SIZE] * len(maps), SIZE)
    protocol = BasProtocol(SIZE)

    counts = {level: [] for level in (0.3, 0.5, 0.7)}
    for threshold in GRID:
        nearest = [
            box_iou(np.array([slow_box(cells, threshold)]), annotated).max()
            for cells, annotated in zip(maps, boxes, strict=True)
        ]
        for level, found in counts.items():
            found.append(100 * sum(iou > level for iou in nearest) / len(maps))

    sweep = protocol.sweep(maps, truth, GRID)
    v2 = max_box_acc_v2(sweep, GRID, protocol)
    for level, found in counts.items():
        best = v2.by_iou[str(level)]
        assert best.accuracy == max(found)
        assert best.threshold == GRID[int(np.argmax(found))]
    assert v2.mean == np.mean([max(found) for found in counts.values()])
    assert max_box_acc(sweep, GRID, protocol) == v2.by_iou["0.5"]


def test_boxes_are_compared_in_the_original_frame() -> None:
    cells = np.zeros((1, 4, 4), np.float32)
    cells[0, 1:3, 1:3] = 1
    truth = GroundTruth.stretched([np.array([[20.0, 50, 60, 150]])], [(200, 80)], (4, 4))
    boxes = BasProtocol((4, 4)).boxes(cells, truth, 0.5)
    np.testing.assert_array_equal(boxes, [[20, 50, 60, 150]])
    assert BasProtocol((4, 4)).ious(cells, truth, 0.5).largest[0] == 1.0


def test_a_map_without_foreground_predicts_the_whole_frame() -> None:
    policy = InputPolicy(height=4, width=4, resize="centre_crop")
    truth = GroundTruth.of([np.array([[0.0, 0, 8, 4]])], [(8, 12)], policy)
    boxes = BasProtocol((4, 4)).boxes(np.ones((1, 4, 4), np.float32), truth, 0.5)
    np.testing.assert_array_equal(boxes, [[0, 0, 12, 8]])


def test_foreground_on_the_padding_alone_predicts_the_whole_frame() -> None:
    cells = np.zeros((1, 8, 8), np.float32)
    cells[0, 0, 3:6] = 1  # above the frame, which fills rows 2 to 6
    policy = InputPolicy(height=8, width=8, resize="letterbox")
    truth = GroundTruth.of([np.array([[0.0, 0, 8, 4]])], [(10, 20)], policy)
    np.testing.assert_array_equal(BasProtocol((8, 8)).boxes(cells, truth, 0.5), [[0, 0, 20, 10]])


def test_an_iou_of_exactly_half_is_not_enough() -> None:
    protocol = BasProtocol((4, 4))
    np.testing.assert_array_equal(protocol.correct(np.array([0.5, 0.51]), 0.5), [False, True])


def test_one_value_per_image_and_the_mean_rule() -> None:
    cells = np.array([[[0.0, 0.2, 0.4, 1.0]]] * 2, np.float32)
    truth = GroundTruth.stretched([np.array([[1.0, 0, 4, 1]])] * 2, [(1, 4)] * 2, (1, 4))
    protocol = BasProtocol((1, 4))
    ious = protocol.ious(cells, truth, np.array([0.1, 0.3], np.float32)).largest
    np.testing.assert_allclose(ious, [1.0, 2 / 3])
    # The mean of each map is 0.4: half of it cuts between 0.2 and 0.4, a tenth above 0.
    np.testing.assert_allclose(protocol.ious(cells, truth, 0.1, "mean").largest, [1, 1])
    np.testing.assert_allclose(protocol.ious(cells, truth, 0.6, "mean").largest, [2 / 3, 2 / 3])
