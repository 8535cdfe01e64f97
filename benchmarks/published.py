"""The published inference of BAS, written from its description: the baseline and the comparison.

The model runs eagerly in torch; then, per image: mean over the maps of the top-k classes, min-max
normalisation at map size (without epsilon), bilinear resize by OpenCV, a strict threshold,
8-connected labelling by scikit-image, the largest component found by counting labels in Python,
and the half-open box of scikit-image's region properties; the whole image where nothing passes.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import measure

__all__ = [
    "ToBox",
    "average_top_maps",
    "foreground_to_box",
    "foreground_to_box_opencv",
    "normalised",
]

ToBox = Callable[
    [NDArray[np.float32], tuple[int, ...], float], tuple[int, int, int, int]
]  # foreground, size, threshold -> box


def average_top_maps(
    maps: NDArray[np.float32], scores: NDArray[np.float32], k: int
) -> NDArray[np.float32]:
    """Maps [C, h, w] and scores [C] of one image -> mean of its k best classes [h, w]."""
    best = np.argsort(-scores, kind="stable")[:k]
    mean: NDArray[np.float32] = maps[best].mean(axis=0)
    return mean


def normalised(foreground: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """[h, w] -> [H, W]: min-max at map size, then bilinear."""
    low, high = foreground.min(), foreground.max()
    height, width = size
    scaled = (foreground - low) / (high - low)
    resized: NDArray[np.float32] = cv2.resize(
        scaled, (width, height), interpolation=cv2.INTER_LINEAR
    )
    return resized


def foreground_to_box(
    foreground: NDArray[np.float32], size: tuple[int, ...], threshold: float
) -> tuple[int, int, int, int]:
    """[h, w] -> (x0, y0, x1, y1), half-open, in pixels of `size` (height, width)."""
    mask = (normalised(foreground, size) > threshold).astype(np.uint8)
    labels = measure.label(mask)  # it has no types; 8-connected by default
    counts: dict[int, int] = {}
    for label in labels.flatten().tolist():
        if label != 0:
            counts[label] = counts.get(label, 0) + 1
    if not counts:
        return (0, 0, size[1], size[0])
    largest = max(counts, key=lambda label: counts[label])
    only = (labels == largest).astype(np.uint8)
    (region,) = measure.regionprops(only)  # it has no types
    y0, x0, y1, x1 = region.bbox
    return (x0, y0, x1, y1)


def foreground_to_box_opencv(
    foreground: NDArray[np.float32], size: tuple[int, ...], threshold: float
) -> tuple[int, int, int, int]:
    """The same box by `cv2.connectedComponentsWithStats`: the fast way without native code."""
    mask = (normalised(foreground, size) > threshold).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count == 1:
        return (0, 0, size[1], size[0])
    x0, y0, width, height, _ = stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))].tolist()
    return (x0, y0, x0 + width, y0 + height)
