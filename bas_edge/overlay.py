"""Foreground maps as heat over their images, for pages and contact sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from bas_edge.framing import Placement
    from bas_edge.results import ColorOrder

__all__ = ["heat_on_frame", "heat_over", "seen_on_frame"]

_TINT = (255, 106, 0)
_MOST_TINT, _MOST_SHADE = 0.7, 0.5


def heat_on_frame(
    cells: NDArray[np.float32],
    placement: Placement,
    limits: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """One map scaled to 0..255, its cells spread over the whole frame: [h, w] → [h, w] uint8.

    Args:
        cells: [h, w] float32 foreground at the network's resolution.
        placement: How the frame was shown; what the network did not see is 0.
        limits: What becomes 0 and 255, clipped; the map's own range by default. A flat range
            gives 0 everywhere.
    """
    low, high = limits or (float(cells.min()), float(cells.max()))
    scale = 255.0 / (high - low) if high > low else 0.0
    heat = np.rint(np.clip((cells.astype(np.float64) - low) * scale, 0, 255)).astype(np.uint8)
    height, width = placement.frame_size
    if placement.shown == (0, 0, width, height) and placement.target[:2] == (0, 0):
        return heat
    rows, columns = heat.shape
    across, down = columns / placement.input_size[1], rows / placement.input_size[0]
    x0, y0, x1, y1 = _frame_on_input(placement)
    frame_in_cells = (x0 * across, y0 * down, x1 * across, y1 * down)
    spread = Image.fromarray(heat).transform(
        (columns, rows), Image.Transform.EXTENT, frame_in_cells, Image.Resampling.BILINEAR
    )
    return np.asarray(spread)


def seen_on_frame(
    pixels: NDArray[np.uint8], placement: Placement, *, longest: int
) -> NDArray[np.uint8]:
    """What the network saw, put back where it lies on the frame: [H', W', 3] uint8.

    Args:
        pixels: [h, w, 3] uint8, the network's input.
        placement: How the frame was shown; what the network did not see is black.
        longest: Longest side of the result, at most the frame's own.
    """
    height, width = placement.frame_size
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(
        Image.fromarray(pixels).transform(
            size, Image.Transform.EXTENT, _frame_on_input(placement), Image.Resampling.BILINEAR
        )
    )


def heat_over(
    image: NDArray[np.uint8],
    heat: NDArray[np.uint8],
    opacity: float = 0.75,
    color: ColorOrder = "rgb",
) -> NDArray[np.uint8]:
    """`image` [H, W, 3] tinted orange where `heat` is high, and darker everywhere.

    Args:
        image: uint8.
        heat: [h, w] uint8, spread over the image.
        opacity: 0 leaves the image as it is; 1 hides most of it where the heat is highest.
        color: The order of the image's channels, "rgb" or "bgr".
    """
    tint = _TINT if color == "rgb" else _TINT[::-1]
    bare = Image.fromarray(image)
    shade = Image.blend(bare, Image.new("RGB", bare.size), _MOST_SHADE * opacity)
    weight = np.rint(heat * (_MOST_TINT * opacity)).astype(np.uint8)
    mask = Image.fromarray(weight).resize(bare.size, Image.Resampling.BILINEAR)
    return np.asarray(Image.composite(Image.new("RGB", bare.size, tint), shade, mask))


def _frame_on_input(placement: Placement) -> tuple[float, float, float, float]:
    """The frame's corners in pixels of the input; they may lie outside of it."""
    (x0, y0, _, _), (left, top, _, _) = placement.shown, placement.target
    (height, width), (scale_x, scale_y) = placement.frame_size, placement.scale
    return (
        left - x0 / scale_x,
        top - y0 / scale_y,
        left + (width - x0) / scale_x,
        top + (height - y0) / scale_y,
    )
