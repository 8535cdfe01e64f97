"""Decoded frames of FFmpeg as upright RGB pixels."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge._require import require

__all__ = ["DecodedPicture", "display_matrix", "display_orientation", "rgb_pixels"]

_KEPT_CONVERTERS = 8  # sizes and formats a thread

_here = threading.local()


class DecodedPicture:
    """A frame of FFmpeg; see `capture.Picture`."""

    __slots__ = ("_frame", "_matrix", "captured_at", "time_s")

    def __init__(
        self,
        frame: Any,
        matrix: NDArray[np.int32] | None,
        time_s: float | None,
        captured_at: float,
    ) -> None:
        self._frame = frame
        self._matrix = matrix
        self.time_s = time_s
        self.captured_at = captured_at

    def pixels(self) -> NDArray[np.uint8]:
        """[H, W, 3] uint8 RGB, rotated as the source asks."""
        pixels = rgb_pixels(self._frame)
        return pixels if self._matrix is None else display_orientation(pixels, self._matrix)


def rgb_pixels(frame: Any) -> NDArray[np.uint8]:
    """The pixels of a PyAV frame: [H, W, 3] uint8 RGB, equal to `to_ndarray(format="rgb24")`.

    That makes a converter for each frame, spreads it over threads and copies what it gives,
    which together cost as much as decoding. Here each thread keeps its converters, and the
    array is the converted frame itself: rows may be padded (`strides[0] >= 3 * W`).
    """
    key = (frame.width, frame.height, frame.format.name)
    kept = _here.__dict__.setdefault("converters", {})
    if key not in kept:
        if len(kept) == _KEPT_CONVERTERS:
            kept.pop(next(iter(kept)))
        reformatter = require("av.video.reformatter", extra="video", purpose="Reading video")
        kept[key] = reformatter.VideoReformatter()
    converted = kept[key].reformat(frame, format="rgb24", threads=1)
    plane = converted.planes[0]
    rows: NDArray[np.uint8] = np.frombuffer(plane, np.uint8)
    rows = rows.reshape(-1, plane.line_size)[: frame.height, : 3 * frame.width]
    return np.lib.stride_tricks.as_strided(
        rows, (frame.height, frame.width, 3), (plane.line_size, 3, 1)
    )


def display_matrix(frame: Any) -> NDArray[np.int32] | None:
    """How a PyAV frame is to be turned: int32 [9], or None where it says nothing."""
    # Not frame.side_data: the frame would keep that, and that the frame, until a collection.
    side_data = require("av.sidedata.sidedata", extra="video", purpose="Reading video")
    matrix = side_data.SideDataContainer(frame).get("DISPLAYMATRIX")
    return None if matrix is None else np.frombuffer(bytes(matrix), np.int32)


def display_orientation(pixels: NDArray[np.uint8], matrix: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Turn and mirror a frame as the container's 3×3 display matrix asks.

    Args:
        pixels: [H, W, 3] as decoded.
        matrix: int32 [9], row-major; (x, y) is shown at (a·x + c·y, b·x + d·y) where
            a, b = matrix[0:2] and c, d = matrix[3:5] (ISO/IEC 14496-12, `tkhd`).

    Returns:
        [H, W, 3], or [W, H, 3] for a quarter turn; contiguous where it was turned. Angles other
        than quarter turns leave the frame as it is: no camera writes them.
    """
    a, b, c, d = (int(np.sign(matrix[at])) for at in (0, 1, 3, 4))
    if a and d and not (b or c):
        turned, flip_x, flip_y = pixels, a < 0, d < 0
    elif b and c and not (a or d):
        turned, flip_x, flip_y = pixels.transpose(1, 0, 2), c < 0, b < 0
    else:
        return pixels
    return np.ascontiguousarray(turned[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
