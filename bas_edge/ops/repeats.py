"""Masks in the pixels of another size: docs/semantics.md."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import _native
from bas_edge.ops.arguments import MAX_SIDE, check_array

__all__ = ["repeat_pixels"]


def repeat_pixels(
    mask: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Each pixel as often as its row and its column say, and how many there are of each value.

    Args:
        mask: [h, w] uint8.
        rows: [h] int64, how often each row is wanted; 0 leaves it out.
        columns: [w] int64, likewise.

    Returns:
        `np.repeat` along both axes: [sum of rows, sum of columns] uint8; and [256] int64, the
        pixels of it with each value.

    Raises:
        InputError: wrong dtype, rank or length; a count below 0; no pixel, or more than 32768 a
            side.
    """
    mask = check_array("mask", mask, np.uint8, "[h, w]")
    if len(mask) == 0:
        raise InputError("mask [h, w] must have at least one row.")
    return _native.repeat_pixels(
        mask, _checked("rows", rows, mask.shape[0]), _checked("columns", columns, mask.shape[1])
    )


def _checked(name: str, counts: NDArray[np.int64], lines: int) -> NDArray[np.int64]:
    counts = check_array(name, counts, np.int64, "[lines]")
    if len(counts) != lines:
        raise InputError(f"{name} has {len(counts)} counts, but the mask has {lines} {name}.")
    if counts.min() < 0 or counts.max() > MAX_SIDE or not 1 <= counts.sum() <= MAX_SIDE:
        raise InputError(
            f"{name} must be counts of 0 or more that sum to 1 to {MAX_SIDE}, not from "
            f"{counts.min()} to {counts.max()} with the sum {counts.sum()}."
        )
    return counts
