"""Foreground maps as heat over their images, for pages and contact sheets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bas_edge.framing import Placement

__all__ = ["heat_on_frame", "heat_over"]

_TINT = np.array([255, 120, 0], np.float32)


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
    (x0, y0, x1, y1), (left, top, _, _) = placement.shown, placement.target
    height, width = placement.frame_size
    if (x0, y0, x1, y1) == (0, 0, width, height) and (left, top) == (0, 0):
        return heat
    (scale_x, scale_y), (rows, columns) = placement.scale, heat.shape
    across, down = columns / placement.input_size[1], rows / placement.input_size[0]
    frame_in_cells = (  # the frame's corners, in cells of the map
        (left - x0 / scale_x) * across,
        (top - y0 / scale_y) * down,
        (left + (width - x0) / scale_x) * across,
        (top + (height - y0) / scale_y) * down,
    )
    spread = Image.fromarray(heat).transform(
        (columns, rows), Image.Transform.EXTENT, frame_in_cells, Image.Resampling.BILINEAR
    )
    return np.asarray(spread)


def heat_over(image: NDArray[np.uint8], heat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` [H, W, 3] dimmed where `heat` is low and tinted orange where it is high.

    Args:
        image: uint8 RGB.
        heat: [h, w] uint8, spread over the image.
    """
    size = (image.shape[1], image.shape[0])
    smooth = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    weight = smooth[:, :, None].astype(np.float32) / 255
    mixed = image * (0.45 + 0.35 * weight) + _TINT * (0.3 * weight)
    return np.clip(mixed, 0, 255).astype(np.uint8)
