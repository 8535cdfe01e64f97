"""One mask of every area for one object: eroded and dilated until the area is right.

All masks of an object are beginnings of one order of the pixels, so each lies inside the next:

1. Pixels of the object, deepest first: by their distance to the nearest pixel outside it.
   What lies beyond the frame is outside.
2. The other pixels, nearest first: by their distance to the nearest pixel of the object.

Distances are Euclidean, between pixel centres. Equal ones go by the distance to the object's
centroid, then in reading order. The mask of ratio r is the first round(r · A) pixels, where A is
the object's own number of pixels; ratio 1 is therefore the object itself. No mask is larger
than the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["GrowingMask", "box_mask", "grow", "squared_distances"]


@dataclass(frozen=True, slots=True, eq=False)
class GrowingMask:
    """The pixels of a frame in the order in which they join the mask of its object.

    Attributes:
        rank: int64 [H, W], each pixel's place in that order, from 0.
        area: Pixels of the object itself, at least 1.
    """

    rank: NDArray[np.int64]
    area: int

    def pixels(self, ratio: float) -> int:
        """How many pixels the mask of this ratio has: round(ratio · area), at most the frame's."""
        return min(int(np.floor(ratio * self.area + 0.5)), self.rank.size)

    def mask(self, ratio: float) -> NDArray[np.bool_]:
        """Mask [H, W] with exactly `pixels(ratio)` pixels; `ratio` is at least 0."""
        return self.rank < self.pixels(ratio)


def grow(mask: NDArray[np.bool_]) -> GrowingMask:
    """The order of one object, bool [H, W] with at least one pixel.

    Raises:
        ValueError: The mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask has no pixel to grow from")
    inside = squared_distances(~np.pad(mask, 1))[1:-1, 1:-1]  # padded by what is outside
    signed = np.where(mask, -inside, squared_distances(mask))
    rows, columns = np.indices(mask.shape)
    own_rows, own_columns = np.nonzero(mask)
    off_centre = (rows - own_rows.mean()) ** 2 + (columns - own_columns.mean()) ** 2
    order = np.lexsort((off_centre.ravel(), signed.ravel()))  # stable: reading order at the end
    rank = np.empty(mask.size, np.int64)
    rank[order] = np.arange(mask.size)
    return GrowingMask(rank.reshape(mask.shape), int(mask.sum()))


def squared_distances(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """From each pixel [H, W] to the nearest pixel of `mask`, squared and exact; 0 on the mask.

    Up and down first, then over all columns: the nearest pixel of the whole frame is, in some
    column, the nearest of that column. An empty mask is farther than any pixel could be.
    """
    height, width = mask.shape
    never = 2 * (height + width)
    rows = np.arange(height)[:, None]
    above = np.maximum.accumulate(np.where(mask, rows, -never), axis=0)
    below = np.minimum.accumulate(np.where(mask, rows, 2 * never)[::-1], axis=0)[::-1]
    upright = np.minimum(rows - above, below - rows).astype(np.int64) ** 2  # [H, W]
    columns = np.arange(width)
    nearest = np.full((height, width), np.iinfo(np.int64).max)
    for column in range(width):
        np.minimum(nearest, upright[:, column, None] + (columns - column) ** 2, out=nearest)
    return nearest


def box_mask(
    boxes: NDArray[np.float64], frame_size: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Boxes drawn as one mask on a frame that was stretched to `size`.

    Args:
        boxes: [B, 4] xyxy in pixels of the frame, half-open.
        frame_size: (H, W) of the frame.
        size: (h, w) of what it was stretched to.

    Returns:
        bool [h, w]: the pixels whose centre lies in a box.
    """
    (height, width), (h, w) = frame_size, size
    y, x = (np.arange(h) + 0.5) * (height / h), (np.arange(w) + 0.5) * (width / w)
    x0, y0, x1, y1 = (edge[:, None] for edge in boxes.T)  # [B, 1]
    in_rows, in_columns = (y >= y0) & (y < y1), (x >= x0) & (x < x1)  # [B, h], [B, w]
    drawn: NDArray[np.bool_] = (in_rows[:, :, None] & in_columns[:, None, :]).any(axis=0)
    return drawn
