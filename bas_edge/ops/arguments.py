"""The checks that every op makes before native code sees an argument."""

from __future__ import annotations

import operator
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError

__all__ = [
    "MAX_SIDE",
    "check_array",
    "check_count",
    "check_size",
    "check_thresholds",
    "choose_threads",
]

MAX_SIDE = 32768
"""Longest side of a frame, map or network input: areas then fit 32 bits."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)

_WORK_PER_THREAD = 1 << 17
"""Values below which starting one more thread takes longer than it saves."""


def check_array(
    name: str, array: NDArray[Any], dtype: type[np.generic], shape: str
) -> NDArray[Any]:
    """The array, C-contiguous (copied if need be), or an InputError.

    `shape` shows the axes as documented, such as "[N, h, w]". Only the first may be empty.
    """
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} must be a NumPy array {shape}, not {type(array).__name__}.")
    if array.dtype != dtype:
        raise InputError(f"{name} must be {dtype.__name__}, not {array.dtype}.")
    if array.ndim != shape.count(",") + 1:
        raise InputError(f"{name} must have the axes {shape}, not the shape {array.shape}.")
    inner = array.shape[1:]
    if inner and not (min(inner) >= 1 and max(inner) <= MAX_SIDE):
        raise InputError(
            f"{name} {shape} must have 1 to {MAX_SIDE} along every axis but N, not the shape "
            f"{array.shape}."
        )
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else np.array(array, order="C")


def check_count(name: str, value: int, most: int) -> int:
    """A whole number from 1 to `most`, or an InputError."""
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be a whole number, not {value!r}.") from None
    if not 1 <= number <= most:
        raise InputError(f"{name} must be from 1 to {most}, not {number}.")
    return number


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width), each from 1 to MAX_SIDE, or an InputError."""
    try:
        height, width = size
    except (TypeError, ValueError):
        raise InputError(f"size must be (height, width), not {size!r}.") from None
    return check_count("the height", height, MAX_SIDE), check_count("the width", width, MAX_SIDE)


def check_thresholds(threshold: float | NDArray[np.float32], images: int) -> NDArray[np.float32]:
    """One float32 for each image, finite and not negative, or an InputError."""
    if isinstance(threshold, np.ndarray) and threshold.ndim > 0:
        thresholds = check_array("threshold", threshold, np.float32, "[N]")
        if len(thresholds) != images:
            raise InputError(
                f"threshold has {len(thresholds)} values for {images} maps; it must be one number "
                "or one for each."
            )
        if not bool(np.all(np.isfinite(thresholds) & (thresholds >= 0))):
            raise InputError("threshold must be finite and not negative in every value.")
        return thresholds
    try:
        value = float(threshold)
    except (TypeError, ValueError):
        raise InputError(f"threshold must be a number, not {threshold!r}.") from None
    if not 0 <= value <= _FLOAT32_MAX:
        raise InputError(f"threshold must be finite and not negative, not {value}.")
    thresholds = np.empty(images, np.float32)
    thresholds.fill(value)
    return thresholds


def choose_threads(threads: int | None, images: int, work: int) -> int:
    """How many threads a batch gets; `work` counts the values that each image takes.

    None: one for each image, up to the processors this process may use, unless the images
    are so small that threads would cost more than they save.
    """
    if threads is not None:
        return check_count("threads", threads, 1024)
    if images < 2:
        return 1
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this platform
        processors = os.cpu_count() or 1
    return max(1, min(images, processors, images * work // _WORK_PER_THREAD))
