"""From the scores of classes to the class of every pixel: docs/semantics.md has the steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import _native
from bas_edge.ops.arguments import check_array, check_size, choose_threads
from bas_edge.ops.class_masks import ClassMasks

__all__ = ["MAX_CLASSES", "scores_to_masks"]

MAX_CLASSES = 255
"""Channels, with the background: masks of uint8 leave 255 for pixels that are not counted."""


def scores_to_masks(
    scores: NDArray[np.float32], size: tuple[int, int], *, threads: int | None = None
) -> ClassMasks:
    """The class whose score is highest at each pixel, and the area and box of every class.

    Scores are upsampled as by `upsample_maps`, without ever being in memory at that size. Equal
    scores go to the lower class. For a segmentation network, class 0 is the background.

    Args:
        scores: [N, K, h, w] float32, any scale; K is 1 to 255.
        size: (H, W), the network's input size in pixels.
        threads: Over the images of the batch. None: as many as pay (docs/semantics.md).

    Raises:
        InputError: wrong dtype, rank, shape or size; a NaN, an Inf or a score of 2^126 or more.
    """
    scores = check_array("scores", scores, np.float32, "[N, K, h, w]")
    images, classes = scores.shape[:2]
    if classes > MAX_CLASSES:
        raise InputError(
            f"scores are of {classes} classes, and masks hold at most {MAX_CLASSES}.",
            hint="Take fewer classes: a mask is uint8, and 255 in it is not counted.",
        )
    height, width = check_size(size)
    masks, areas, boxes = _native.scores_to_masks(
        scores, height, width, choose_threads(threads, images, height * width)
    )
    return ClassMasks(masks=masks, areas=areas, boxes=boxes)
