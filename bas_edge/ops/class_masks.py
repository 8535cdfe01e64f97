"""What `scores_to_masks` returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClassMasks"]


@dataclass(frozen=True, slots=True)
class ClassMasks:
    """The class of each pixel of N images, and where each of the K classes is.

    Attributes:
        masks: [N, H, W] uint8, the class of each pixel, 0 to K - 1.
        areas: [N, K] int32, the pixels of each class.
        boxes: [N, K, 4] int32 (x0, y0, x1, y1) in network pixels, half-open: around the largest
            8-connected part of each class, ties to the first in raster order. Zeros for a class
            without a pixel.
    """

    masks: NDArray[np.uint8]
    areas: NDArray[np.int32]
    boxes: NDArray[np.int32]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.masks)
