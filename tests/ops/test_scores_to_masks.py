from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import ClassMasks, maps_to_boxes, reference, scores_to_masks

ULP = float(np.finfo(np.float32).eps)
# Few values, so that classes tie; neighbours of one, which rounding moves past each other; any.
CELLS = (
    st.sampled_from([0.0, -0.0, 1.0, 2.0])
    | st.sampled_from([1.0 - ULP, 1.0, 1.0 + ULP, 1.0 + 2 * ULP])
    | st.floats(-8, 8, width=32)
)
SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 7), st.integers(1, 9))
SCORES = SHAPES.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=CELLS))
SIZES = st.tuples(st.integers(1, 30), st.integers(1, 70))


def assert_same(got: ClassMasks, expected: ClassMasks) -> None:
    for field in ("masks", "areas", "boxes"):
        np.testing.assert_array_equal(getattr(got, field), getattr(expected, field), field)
        assert getattr(got, field).dtype == getattr(expected, field).dtype


def of_rows(*rows: list[float]) -> NDArray[np.float32]:
    """One image, each class a single row of cells."""
    return np.array([[[row] for row in rows]], np.float32)


@settings(max_examples=150, deadline=None)
@given(scores=SCORES, size=SIZES)
@example(of_rows([1]), (1, 1))
@example(of_rows([0, 1], [1, 0], [0.5, 0.5]), (5, 33))  # three tie in the middle
@example(of_rows([0.0], [-0.0]), (2, 2))  # these two are equal
@example(of_rows([1e-45, 0], [0, 1e-45], [0, 0]), (2, 67))  # subnormal
@example(of_rows([-8e37, 8e37], [8e37, -8e37]), (3, 40))  # near the limit
def test_equal_to_reference(path: str, scores: NDArray[np.float32], size: tuple[int, int]) -> None:
    got = scores_to_masks(scores, size)
    assert_same(got, reference.scores_to_masks(scores, size))
    assert len(got) == len(scores)
    assert (got.areas.sum(axis=1) == size[0] * size[1]).all()


def smooth_scores(classes: int, height: int, width: int) -> NDArray[np.float32]:
    """[1, K, h, w] with regions: most tiles are one class's, others lie on borders of several."""
    rng = np.random.default_rng(classes * height + width)
    y, x = np.mgrid[0:height, 0:width]
    centres = rng.random((classes, 2, 1, 1)) * [[[height]], [[width]]]
    distance = np.hypot(y - centres[:, 0], x - centres[:, 1])
    return (-distance + rng.normal(0, 0.2, distance.shape)).astype(np.float32)[None]


@pytest.mark.parametrize("classes", [1, 3, 8, 9, 21, 63, 64, 65, 128, 255])
def test_any_number_of_classes(path: str, classes: int) -> None:
    """Around the vectors and the 64-bit words that classes are sifted in."""
    scores = smooth_scores(classes, 9, 11)
    assert_same(scores_to_masks(scores, (40, 70)), reference.scores_to_masks(scores, (40, 70)))


@pytest.mark.parametrize("width", [1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 97])
@pytest.mark.parametrize("cells", [1, 2, 5, 8, 33])
def test_any_width(path: str, width: int, cells: int) -> None:
    """Around whole tiles, and from maps with fewer and more cells than that."""
    scores = smooth_scores(5, 4, cells)
    assert_same(scores_to_masks(scores, (9, width)), reference.scores_to_masks(scores, (9, width)))


def test_a_class_that_only_rounding_lifts_to_a_tie_is_not_passed_over(path: str) -> None:
    """At 98 pixels a weight rounds to 1, and `a + (b - a)` to the float after b."""
    a, b = -1.8494415283203125, 1.259149432182312
    scores = of_rows([a, b], [b + ULP, b + ULP])
    got = scores_to_masks(scores, (1, 98))
    assert got.areas.tolist() == [[1, 97]]
    assert_same(got, reference.scores_to_masks(scores, (1, 98)))


def test_boxes_are_those_of_each_mask_alone(path: str) -> None:
    scores = np.random.default_rng(0).random((2, 4, 6, 7), dtype=np.float32)
    got = scores_to_masks(scores, (45, 50))
    for image, mask in enumerate(got.masks):
        for label in range(4):
            alone = maps_to_boxes((mask == label).astype(np.float32)[None], mask.shape, 0.5)
            np.testing.assert_array_equal(got.boxes[image, label], alone.boxes[0, 0])
            assert got.areas[image, label] == (mask == label).sum()


def test_parts_of_one_class_join_over_corners_and_the_first_of_equals_is_boxed(path: str) -> None:
    mask = np.array(
        [
            [0, 0, 0, 2, 2, 0],
            [1, 0, 0, 0, 0, 0],
            [0, 1, 0, 0, 0, 0],
            [0, 0, 2, 2, 0, 3],
        ]
    )
    scores = np.eye(5, dtype=np.float32)[mask].transpose(2, 0, 1)[None]
    got = scores_to_masks(scores, mask.shape)  # nothing is resampled
    np.testing.assert_array_equal(got.masks[0], mask)
    assert got.areas[0].tolist() == [17, 2, 4, 1, 0]
    boxes = [[0, 0, 6, 4], [0, 1, 2, 3], [3, 0, 5, 1], [5, 3, 6, 4], [0, 0, 0, 0]]
    assert got.boxes[0].tolist() == boxes


def test_a_class_may_leave_rows_out(path: str) -> None:
    mask = np.zeros((6, 9), np.int64)
    mask[[0, 2, 5], 4] = 1  # three parts of one pixel each
    mask[3:5, 1] = 2
    scores = np.eye(3, dtype=np.float32)[mask].transpose(2, 0, 1)[None]
    got = scores_to_masks(scores, mask.shape)
    assert got.boxes[0, 1:].tolist() == [[4, 0, 5, 1], [1, 3, 2, 5]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**126, -(2.0**126)])
def test_scores_beyond_the_limit_are_an_error(path: str, value: float) -> None:
    scores = np.zeros((2, 3, 4, 5), np.float32)
    scores[1, 2, 3, 4] = value
    with pytest.raises(InputError, match=r"scores\[1\] holds NaN, Inf or a score of 2\^126"):
        scores_to_masks(scores, (9, 9))


@pytest.mark.parametrize(
    ("scores", "size", "message"),
    [
        (np.zeros((1, 2, 3, 4)), (8, 8), "scores must be float32, not float64"),
        (np.zeros((2, 3, 4), np.float32), (8, 8), r"scores must have the axes \[N, K, h, w\]"),
        (np.zeros((1, 0, 3, 4), np.float32), (8, 8), "1 to 32768 along every axis but N"),
        (np.zeros((1, 256, 1, 1), np.float32), (8, 8), "256 classes, and masks hold at most 255"),
        (np.zeros((1, 2, 3, 4), np.float32), (0, 8), "the height must be from 1 to 32768, not 0"),
    ],
)
def test_refuses(scores: NDArray[np.float32], size: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        scores_to_masks(scores, size)


def test_no_images_and_any_strides() -> None:
    assert scores_to_masks(np.zeros((0, 3, 4, 5), np.float32), (8, 9)).masks.shape == (0, 8, 9)
    scores = smooth_scores(4, 6, 10)
    strided = scores[..., ::-2].swapaxes(2, 3)
    assert_same(scores_to_masks(strided, (20, 30)), scores_to_masks(strided.copy("C"), (20, 30)))
