from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import cuda, reference


@st.composite
def batches(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    classes = draw(st.integers(1, 7) | st.integers(30, 70))  # around a warp too
    shape = (draw(st.integers(1, 3)), classes, draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    maps = draw(hnp.arrays(np.float32, shape, elements=st.floats(-8, 8, width=32)))
    few = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1e-42, 2.0, np.inf])  # so that many tie
    scores = draw(hnp.arrays(np.float32, shape[:2], elements=few | st.floats(-9, 9, width=32)))
    return maps, scores, draw(st.integers(1, classes))


def maps_of(values: list[float]) -> NDArray[np.float32]:
    """One image whose class maps are 1 × 1."""
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


@settings(max_examples=60, deadline=None)
@given(batch=batches())
@example(batch=(maps_of([1, 2, 4]), np.zeros((1, 3), np.float32), 2))  # all scores tie
@example(batch=(maps_of([1, 2]), np.array([[0.0, -0.0]], np.float32), 1))  # 0 and -0 tie
@example(batch=(maps_of([1e8, 1, -1e8]), np.array([[3, 2, 1]], np.float32), 3))  # order shows
@example(batch=(maps_of([-0.0]), np.zeros((1, 1), np.float32), 1))  # keeps its sign
def test_equal_to_reference(
    cuda_ops: Any, batch: tuple[NDArray[np.float32], NDArray[np.float32], int]
) -> None:
    maps, scores, k = batch
    got = cuda_ops.aggregate_maps(maps, scores, k)
    expected = reference.aggregate_maps(maps, scores, k)
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize(
    ("images", "classes", "side", "k"),
    [(2, 200, 28, 80), (1, 200, 28, 1), (1, 200, 28, 200), (1, 1000, 14, 97), (64, 5, 3, 5)],
)
def test_equal_to_reference_at_the_size_of_a_network(
    cuda_ops: Any, images: int, classes: int, side: int, k: int
) -> None:
    rng = np.random.default_rng(k)
    maps = rng.random((images, classes, side, side), dtype=np.float32)
    scores = rng.normal(size=(images, classes)).round(1).astype(np.float32)  # many ties
    np.testing.assert_array_equal(
        cuda_ops.aggregate_maps(maps, scores, k), reference.aggregate_maps(maps, scores, k)
    )


@pytest.mark.parametrize("at", [0, 33, 69])
def test_a_nan_score_is_refused(cuda_ops: Any, at: int) -> None:
    scores = np.zeros((3, 70), np.float32)
    scores[1, at] = np.nan
    with pytest.raises(InputError, match=r"scores\[1\] holds NaN"):
        cuda_ops.aggregate_maps(np.zeros((3, 70, 2, 2), np.float32), scores, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_a_mean_that_is_not_finite_is_refused(cuda_ops: Any, bad: float) -> None:
    maps = np.zeros((3, 4, 5, 7), np.float32)
    maps[2, :, 4, 6] = bad
    with pytest.raises(InputError, match=r"the mean of the selected maps\[2\] is not finite"):
        cuda_ops.aggregate_maps(maps, np.zeros((3, 4), np.float32), 2)


def test_maps_that_are_not_selected_are_not_read(cuda_ops: Any) -> None:
    maps = np.full((1, 3, 2, 2), np.nan, np.float32)
    maps[0, 1] = 5
    scores = np.array([[0, 1, 0]], np.float32)
    assert (cuda_ops.aggregate_maps(maps, scores, 1) == 5).all()


def test_no_images(cuda_ops: Any) -> None:
    maps = np.zeros((0, 3, 2, 2), np.float32)
    assert cuda_ops.aggregate_maps(maps, np.zeros((0, 3), np.float32), 2).shape == (0, 2, 2)


def test_more_images_than_it_was_made_for_are_refused(cuda_ops: Any) -> None:
    op = cuda.AggregateMaps(max_images=2, classes=3, cells=4, k=1)
    with pytest.raises(InputError, match="images is 3, but this was made for 0 to 2"):
        op.run(maps=0, scores=0, images=3, foreground=0, stream=0)


@pytest.mark.parametrize(
    ("option", "value"), [("max_images", 0), ("classes", 0), ("cells", 0), ("k", 4)]
)
def test_sizes_out_of_range_are_refused(cuda_ops: Any, option: str, value: int) -> None:
    sizes = {"max_images": 1, "classes": 3, "cells": 4, "k": 1, option: value}
    with pytest.raises(InputError, match=f"{option} must be from 1 to"):
        cuda.AggregateMaps(**sizes)
