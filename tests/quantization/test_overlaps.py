"""mIoU over images and its standard error, against the plain way to compute them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bas_edge.metrics import ConfusionMatrix
from bas_edge.quantization.overlaps import Overlaps, standard_error_of_loss

CLASSES = ("a", "b", "c")
Pairs = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def random_pairs(count: int, seed: int = 0) -> Pairs:
    """Images of different sizes, some pixels not counted; class c is in the last one alone."""
    rng = np.random.default_rng(seed)
    pairs: Pairs = []
    for n in range(count):
        size = (int(rng.integers(3, 9)), int(rng.integers(3, 9)))
        truth = rng.choice(np.array([0, 1, 2, 255], np.uint8), size)
        mask = np.where(rng.random(size) < 0.7, truth % 255, rng.integers(0, 3, size))
        if n == count - 1:
            mask[0, 0] = 3
        pairs.append((truth, mask.astype(np.uint8)))
    return pairs


def miou_of(pairs: Pairs) -> float:
    matrix = ConfusionMatrix(CLASSES)
    for truth, mask in pairs:
        matrix.add(truth, mask)
    return matrix.result().miou


def test_miou_is_that_of_the_confusion_matrix() -> None:
    pairs = random_pairs(7)
    found = Overlaps.of(pairs, CLASSES)
    assert found.miou == pytest.approx(miou_of(pairs), abs=1e-12)
    without = [miou_of(pairs[:n] + pairs[n + 1 :]) for n in range(7)]
    np.testing.assert_allclose(found.miou_without_each, without, atol=1e-12)
    np.testing.assert_allclose(found.miou_of_each, [miou_of([one]) for one in pairs], atol=1e-12)
    counted = [truth != 255 for truth, _ in pairs]
    same = [(t[c] == m[c]).sum() for (t, m), c in zip(pairs, counted, strict=True)]
    assert found.same == pytest.approx(sum(same) / sum(c.sum() for c in counted))


def test_an_image_without_a_counted_pixel_changes_nothing() -> None:
    pairs = random_pairs(3)
    nothing = (np.full((4, 4), 255, np.uint8), np.ones((4, 4), np.uint8))
    found = Overlaps.of([*pairs, nothing], CLASSES)
    assert found.miou == pytest.approx(miou_of(pairs), abs=1e-12)
    assert found.miou_of_each[-1] == 1
    assert math.isnan(Overlaps.of([nothing], CLASSES).miou)
    assert Overlaps.of([nothing], CLASSES).same == 1


def test_of_a_plain_mean_the_jackknife_is_the_standard_error() -> None:
    values = np.random.default_rng(2).normal(size=9)
    without_each = (values.sum() - values) / 8
    expected = values.std(ddof=1) / 3
    assert standard_error_of_loss(without_each) == pytest.approx(expected)


def test_what_has_no_error_has_none() -> None:
    assert standard_error_of_loss(np.array([0.5])) is None
    assert standard_error_of_loss(np.array([0.5, np.nan])) is None
    assert standard_error_of_loss(np.array([0.5, 0.5, np.nan])) == 0
