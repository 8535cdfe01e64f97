"""What `maps_to_boxes` returns, and the rule that its threshold follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Boxes", "Rule"]

Rule: TypeAlias = Literal["fixed", "mean"]
"""What the threshold multiplies: the range of the map, or the mean of the map above its minimum."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """The objects of N images, largest first.

    An image without foreground has the whole frame (0, 0, W, H) in slot 0, `found`
    False, count 0 and area 0. Slots beyond `count` are otherwise zeros.

    Attributes:
        boxes: [N, max_boxes, 4] int32 (x0, y0, x1, y1) in network pixels, half-open:
            width is x1 - x0.
        areas: [N, max_boxes] int32, foreground pixels of the component inside each box
            (not the area of the box); 0 marks an empty slot.
        found: [N] bool, whether the image has any box.
        count: [N] int32, slots in use.
    """

    boxes: NDArray[np.int32]
    areas: NDArray[np.int32]
    found: NDArray[np.bool_]
    count: NDArray[np.int32]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.found)
