"""IoU of masks, by hand and against a slow definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics import ConfusionMatrix, SeedSweep

CLASSES = ("a", "b", "c")
SHAPE = (5, 7)
TRUTHS = hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, 3, 255]))
PREDICTIONS = hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 3))


def test_a_worked_example() -> None:
    matrix = ConfusionMatrix(CLASSES)
    truth = np.array([[0, 0, 1, 1, 2, 255]], np.uint8)
    matrix.add(truth, np.array([[0, 1, 1, 1, 0, 3]], np.uint8))
    found = matrix.result()
    assert found.iou[:3].tolist() == [1 / 3, 2 / 3, 0.0]
    assert np.isnan(found.iou[3])  # predicted only where nothing counts
    assert found.miou == pytest.approx(1 / 3)
    assert found.pixel_accuracy == 3 / 5
    assert found.table()[-2:] == ["c               -", "mean IoU     33.3"]
    assert found.to_dict()["iou"] == {"background": 1 / 3, "a": 2 / 3, "b": 0.0, "c": None}


@given(truths=st.lists(TRUTHS, min_size=1, max_size=3), data=st.data())
def test_it_is_what_sets_of_pixels_say(
    truths: list[NDArray[np.uint8]], data: st.DataObject
) -> None:
    predictions = [data.draw(PREDICTIONS) for _ in truths]
    matrix = ConfusionMatrix(CLASSES)
    for pair in zip(truths, predictions, strict=True):
        matrix.add(*pair)
    truth, prediction = np.stack(truths), np.stack(predictions)
    for number, iou in enumerate(matrix.result().iou):
        here, there = (truth == number), (prediction == number) & (truth != 255)
        either = int((here | there).sum())
        if either:
            assert iou == int((here & there).sum()) / either
        else:
            assert np.isnan(iou)


def test_counts_are_exact_beyond_float_and_int32() -> None:
    matrix = ConfusionMatrix(CLASSES)
    matrix.counts[0, 0] = 2**53
    matrix.add(np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8))
    assert int(matrix.result().counts[0, 0]) == 2**53 + 1


def test_nothing_counted_is_no_figure() -> None:
    matrix = ConfusionMatrix(CLASSES)
    matrix.add(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    assert np.isnan(matrix.result().miou)
    assert np.isnan(matrix.result().pixel_accuracy)


def zeros(*shape: int, value: int = 0) -> NDArray[np.uint8]:
    return np.full(shape, value, np.uint8)


@pytest.mark.parametrize(
    ("truth", "predicted", "words"),
    [
        (zeros(2, 2, value=4), zeros(2, 2), "true mask has the value 4"),
        (zeros(2, 2), zeros(2, 2, value=255), "predicted mask has the value 255"),
        (zeros(2, 2), zeros(2, 3), r"\[2, 3\], the true one \[2, 2\]"),
        (np.zeros((2, 2)), zeros(2, 2), "true mask is float64"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        ConfusionMatrix(CLASSES).add(truth, predicted)


def test_a_sweep_cuts_strictly_above_each_threshold() -> None:
    sweep = SeedSweep(("a",), (0.2, 0.5, 0.9))
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    strength = np.array([[0.1, 0.5, 0.6, 0.9]], np.float32)
    sweep.add(truth, np.ones_like(truth), strength)
    threshold, found = sweep.best()
    assert threshold == 0.5  # the pixel that lies on it is background
    assert found.miou == 1.0
    assert [round(miou, 3) for _, miou in sweep.curve()] == [0.583, 1.0, 0.25]


def test_of_equal_thresholds_the_lower_one_is_chosen() -> None:
    sweep = SeedSweep(("a",), (0.3, 0.4))
    sweep.add(np.ones((1, 1), np.uint8), np.ones((1, 1), np.uint8), np.ones((1, 1), np.float32))
    assert sweep.best()[0] == 0.3
