from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import aggregate_maps, reference


@st.composite
def batches(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    shape = draw(hnp.array_shapes(min_dims=4, max_dims=4, max_side=13))  # [N, C, h, w]
    maps = draw(hnp.arrays(np.float32, shape, elements=st.floats(-8, 8, width=32)))
    few = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1e-42, 2.0, np.inf])  # so that many tie
    scores = draw(hnp.arrays(np.float32, shape[:2], elements=few | st.floats(-9, 9, width=32)))
    return maps, scores, draw(st.integers(1, shape[1]))


def maps_of(values: list[float]) -> NDArray[np.float32]:
    """One image whose class maps are 1 × 1."""
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


@settings(max_examples=80, deadline=None)
@given(batch=batches())
@example(batch=(maps_of([1, 2, 4]), np.zeros((1, 3), np.float32), 2))  # all scores tie
@example(batch=(maps_of([1, 2]), np.array([[0.0, -0.0]], np.float32), 1))  # 0 and -0 tie
@example(batch=(maps_of([1e8, 1, -1e8]), np.array([[3, 2, 1]], np.float32), 3))  # order shows
@example(batch=(maps_of([0.1] * 7), np.arange(7, dtype=np.float32)[None], 7))
def test_equal_to_reference(
    path: str, batch: tuple[NDArray[np.float32], NDArray[np.float32], int]
) -> None:
    maps, scores, k = batch
    np.testing.assert_array_equal(
        aggregate_maps(maps, scores, k), reference.aggregate_maps(maps, scores, k)
    )


@pytest.mark.parametrize("k", [1, 80, 199, 200])
def test_equal_to_reference_at_the_size_of_a_network(path: str, k: int) -> None:
    rng = np.random.default_rng(k)
    maps = rng.random((2, 200, 28, 28), dtype=np.float32)
    scores = rng.normal(size=(2, 200)).round(1).astype(np.float32)  # about 60 values: ties
    np.testing.assert_array_equal(
        aggregate_maps(maps, scores, k), reference.aggregate_maps(maps, scores, k)
    )


def test_ties_go_to_the_lower_class(path: str) -> None:
    maps = maps_of([1, 2, 4, 8])
    scores = np.array([[-1, 0.0, -0.0, 0.0]], np.float32)
    assert aggregate_maps(maps, scores, 1).item() == 2
    assert aggregate_maps(maps, scores, 2).item() == 3


def test_adds_in_the_order_of_scores(path: str) -> None:
    maps = maps_of([1e8, 1, -1e8])
    assert aggregate_maps(maps, np.array([[3, 2, 1]], np.float32), 3).item() == 0
    assert aggregate_maps(maps, np.array([[3, 1, 2]], np.float32), 3).item() == np.float32(1) / 3


def test_maps_that_are_not_selected_are_not_read(path: str) -> None:
    maps = maps_of([5, np.nan, np.inf])
    assert aggregate_maps(maps, np.array([[2, 1, 0]], np.float32), 1).item() == 5


@pytest.mark.parametrize("cells", [1, 3, 4, 8, 31, 64, 784])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_selected_value_that_is_not_finite_is_named(path: str, cells: int, bad: float) -> None:
    for where in {0, cells // 2, cells - 1}:
        maps = np.zeros((3, 2, 1, cells), np.float32)
        maps[1, 0, 0, where] = bad
        with pytest.raises(InputError, match=r"selected maps\[1\] is not finite"):
            aggregate_maps(maps, np.ones((3, 2), np.float32), 2)


def test_a_sum_beyond_float32_is_an_error(path: str) -> None:
    with pytest.raises(InputError, match="sum beyond float32"):
        aggregate_maps(maps_of([3e38, 3e38]), np.zeros((1, 2), np.float32), 2)


def test_a_nan_score_is_named(path: str) -> None:
    scores = np.zeros((3, 2), np.float32)
    scores[2, 1] = np.nan
    with pytest.raises(InputError, match=r"scores\[2\] holds NaN"):
        aggregate_maps(np.zeros((3, 2, 2, 2), np.float32), scores, 1)
