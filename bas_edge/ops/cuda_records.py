"""What the CUDA ops leave behind for each image, read on the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops.boxes import Boxes
from bas_edge.ops.cuda_module import native

__all__ = ["Records", "has_bad_scores", "raise_for_status", "read_records", "record_words"]

_HEADER_WORDS = 4
_BOX_WORDS = 5


@dataclass(frozen=True, slots=True)
class Records:
    """What `LocalizeMaps` says of N images.

    Attributes:
        status: [N] int32, 0 where all numbers were finite; see `raise_for_status`.
        labels: [N] int32, the best class, ties to the lower one.
        scores: [N] float32, its softmax probability, within 2e-6 of the exact one.
        boxes: In network pixels.
    """

    status: NDArray[np.int32]
    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    boxes: Boxes


def record_words(max_boxes: int) -> int:
    """int32 words of one image's record."""
    return _HEADER_WORDS + _BOX_WORDS * max_boxes


def read_records(words: NDArray[np.int32], max_boxes: int) -> Records:
    """Take apart [N, record_words(max_boxes)] int32; the result shares no memory with it."""
    slots = words[:, _HEADER_WORDS:].reshape(len(words), max_boxes, _BOX_WORDS)
    count = words[:, 3].copy()
    return Records(
        status=words[:, 0].copy(),
        labels=words[:, 1].copy(),
        scores=np.ascontiguousarray(words[:, 2]).view(np.float32),
        boxes=Boxes(
            boxes=slots[:, :, :4].copy(),
            areas=slots[:, :, 4].copy(),
            found=count > 0,
            count=count,
        ),
    )


def has_bad_scores(status: NDArray[np.int32]) -> bool:
    """Whether any image has a NaN or infinite score, so that its score and label mean nothing."""
    codes = native()
    return bool((status & (codes.SCORE_NAN | codes.SCORE_INFINITE)).any())


def raise_for_status(status: NDArray[np.int32]) -> None:
    """The error that the CPU ops raise for such numbers, for the first image that has any.

    Raises:
        InputError: NaN scores, or a map that is not finite.
    """
    if not status.any():
        return
    codes = native()
    image = int(status.nonzero()[0][0])
    bits = int(status[image])
    if bits & codes.SCORE_NAN:
        raise InputError(f"scores[{image}] holds NaN")
    if bits & codes.MEAN_NOT_FINITE:
        raise InputError(
            f"the mean of the selected maps[{image}] is not finite: they hold NaN or Inf, or sum "
            "beyond float32"
        )
    if bits & codes.FOREGROUND_NOT_FINITE:
        raise InputError(f"foreground[{image}] holds NaN or Inf")
