"""The ops against the steps that BAS publishes, written afresh from their description.

Normalise the map to 0…1, resize with OpenCV, threshold strictly, label with scikit-image, take the
largest component. Only rounding may differ: a pixel that falls on different sides must lie within
rounding of the cut.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import measure

from bas_edge.ops import maps_to_boxes, upsample_maps

SIZE = (224, 224)
MAPS = 2000
ROUNDING = 8 * np.finfo(np.float32).eps  # of values up to 1: two lerps, a difference, a division


def blobs(rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth objects, texture and noise, through a sigmoid: what a network gives."""
    y, x = np.mgrid[:28, :28]
    field = rng.normal(0, 0.15, (28, 28))
    for _ in range(rng.integers(1, 4)):
        cy, cx = rng.uniform(2, 26, 2)
        sy, sx = rng.uniform(1.5, 7, 2)
        field += rng.uniform(0.5, 2) * np.exp(-(((y - cy) / sy) ** 2 + ((x - cx) / sx) ** 2))
    return (1 / (1 + np.exp(2 - 4 * field))).astype(np.float32)


def noise(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.random((28, 28), dtype=np.float32)


def published_values(cells: NDArray[np.float32], epsilon: float) -> NDArray[np.float32]:
    lo, hi = cells.min(), cells.max()
    normalised = (cells - lo) / (hi - lo + np.float32(epsilon))
    return cv2.resize(normalised, SIZE[::-1], interpolation=cv2.INTER_LINEAR)


def published_box(mask: NDArray[np.bool_]) -> list[int]:
    labels = measure.label(mask)  # 8-connected by default
    if not labels.any():
        return [0, 0, SIZE[1], SIZE[0]]
    largest = 1 + np.bincount(labels.ravel())[1:].argmax()
    rows = np.flatnonzero((labels == largest).any(axis=1))
    columns = np.flatnonzero((labels == largest).any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


@pytest.mark.parametrize("make", [blobs, noise])
def test_boxes_are_those_of_the_published_steps(
    make: Callable[[np.random.Generator], NDArray[np.float32]],
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    rng = np.random.default_rng(1)
    maps = np.stack([make(rng) for _ in range(MAPS // 2)])
    thresholds = rng.uniform(0.05, 0.9, len(maps)).astype(np.float32)
    boxes = maps_to_boxes(maps, SIZE, thresholds).boxes[:, 0].tolist()
    other_boxes = other_pixels = other_with_epsilon = 0
    for cells, threshold, box in zip(maps, thresholds, boxes, strict=True):
        published = published_values(cells, 0)
        mask = published > threshold
        lo, hi = cells.min(), cells.max()
        ours = upsample_maps(cells[None], SIZE)[0] - lo > threshold * (hi - lo)
        differing = published[ours != mask]
        assert (np.abs(differing - threshold) <= ROUNDING).all()
        other_pixels += differing.size
        if box != published_box(mask):
            assert differing.size > 0  # explained: by pixels within rounding of the cut alone
            other_boxes += 1
        other_with_epsilon += box != published_box(published_values(cells, 1e-5) > threshold)
    name = make.__name__
    record_testsuite_property(f"{name}: maps", len(maps))
    record_testsuite_property(f"{name}: pixels on the other side", other_pixels)
    record_testsuite_property(f"{name}: other boxes", other_boxes)
    record_testsuite_property(f"{name}: other boxes with epsilon 1e-5", other_with_epsilon)
    assert other_boxes <= len(maps) // 1000
