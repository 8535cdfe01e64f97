"""Intersection over union of axis-aligned boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError

__all__ = ["aligned_iou", "box_iou"]


def box_iou(
    boxes: NDArray[Any], others: NDArray[Any], *, inclusive: bool = False
) -> NDArray[np.float64]:
    """IoU of every box with every other box.

    Args:
        boxes: [N, 4] xyxy.
        others: [M, 4] xyxy, in the same frame.
        inclusive: False: x1, y1 are exclusive, a box is x1 - x0 wide. True: x1, y1 belong to the
            box, which is x1 - x0 + 1 wide, as wsolevaluation counts.

    Returns:
        [N, M] float64, 0 to 1. A pair of empty boxes has IoU 0.

    Raises:
        InputError: A shape is not [N, 4], or a box ends before it starts.

    Example:
        box_iou([[0, 0, 2, 2]], [[1, 0, 3, 2]])  ->  [[2 / 6]]
    """
    first, second = _checked(boxes, "boxes"), _checked(others, "others")
    return aligned_iou(first[:, None, :], second[None, :, :], inclusive=inclusive)


def aligned_iou(
    boxes: NDArray[Any], others: NDArray[Any], *, inclusive: bool = False
) -> NDArray[np.float64]:
    """IoU of boxes that are already paired: [..., 4] with [..., 4], leading axes broadcast.

    Unchecked, for boxes that come from this package. See `box_iou` for the conventions.
    """
    a = np.asarray(boxes, np.float64)
    b = np.asarray(others, np.float64)
    one = 1.0 if inclusive else 0.0
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    overlap = np.maximum(high - low + one, 0.0).prod(axis=-1)
    area_a = (a[..., 2:] - a[..., :2] + one).prod(axis=-1)
    area_b = (b[..., 2:] - b[..., :2] + one).prod(axis=-1)
    union = area_a + area_b - overlap
    iou: NDArray[np.float64] = np.where(union > 0, overlap / np.where(union > 0, union, 1.0), 0.0)
    return iou


def _checked(boxes: NDArray[Any], name: str) -> NDArray[np.float64]:
    array = np.asarray(boxes, np.float64)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(
            f"{name} must have shape [N, 4], not {list(array.shape)}.",
            hint="Give one row (x0, y0, x1, y1) for each box.",
        )
    backward = (array[:, 2:] < array[:, :2]).any(axis=1)
    if backward.any():
        row = int(backward.argmax())
        raise InputError(
            f"{name}[{row}] = {array[row].tolist()} ends before it starts.",
            hint="Boxes are (x0, y0, x1, y1), not (x, y, width, height).",
        )
    return array
