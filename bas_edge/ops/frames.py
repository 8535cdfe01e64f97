"""`resize_frame`: from a camera's frame to the network's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import _native
from bas_edge.ops.arguments import MAX_SIDE, check_size

__all__ = ["resize_frame"]


def resize_frame(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a frame with antialiasing: two one-axis Pillow BILINEAR resizes, to the byte.

    Horizontal pass first, always; each pass rounds to 8 bits. One thread; the GIL is
    released. Channels are alike, so RGB and BGR frames both work and stay what they are.

    Args:
        frame: [H, W, 3] uint8. Read-only frames, crops and flipped channels
            (`frame[..., ::-1]`) are read where they lie; any other strides are copied first.
        size: (h, w) of the result, in pixels.

    Returns:
        [h, w, 3] uint8, C-contiguous, never a view of `frame`.

    Raises:
        InputError: another dtype, rank or channel count (grey, alpha), or an empty axis.
    """
    height, width = check_size(size)
    _check_frame(frame)
    if frame.strides[2] == -1:  # flipped channels: resize as they lie, flip the small result
        return np.ascontiguousarray(resize_frame(frame[..., ::-1], size)[..., ::-1])
    if frame.strides[1:] != (3, 1):
        frame = np.ascontiguousarray(frame)
    return _native.resize_frame(frame, height, width)


def _check_frame(frame: NDArray[np.uint8]) -> None:
    if not isinstance(frame, np.ndarray):
        raise InputError(f"frame must be a NumPy array [H, W, 3], not {type(frame).__name__}.")
    if frame.dtype != np.uint8:
        raise InputError(
            f"frame must be uint8 in 0 to 255, not {frame.dtype}.",
            hint="Scale it to 0 to 255, round, and use .astype(np.uint8).",
        )
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise InputError(
            f"frame must be [H, W, 3], not the shape {frame.shape}.",
            hint="Convert grey, palette or alpha images to RGB first: image.convert('RGB').",
        )
    if not (1 <= frame.shape[0] <= MAX_SIDE and 1 <= frame.shape[1] <= MAX_SIDE):
        raise InputError(
            f"frame must have sides from 1 to {MAX_SIDE} pixels, not the shape {frame.shape}."
        )
