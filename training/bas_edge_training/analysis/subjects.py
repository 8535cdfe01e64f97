"""Images with their objects, as the network's input shows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bas_edge.annotations import Annotation
from bas_edge.engine.manifest import InputPolicy
from bas_edge.errors import InputError
from bas_edge.framing import place
from bas_edge.images import read_image
from bas_edge.mask_files import network_mask
from bas_edge.ops import resize_frame
from bas_edge_training.analysis.growth import GrowingMask, box_mask, grow

__all__ = ["Subject", "read_subject"]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One image at the network's size, with its object.

    Attributes:
        frame: uint8 [side, side, 3] RGB, the whole image stretched.
        label: Its class.
        growing: The object's masks, of side × side pixels; None where it covers no pixel.
    """

    frame: NDArray[np.uint8]
    label: int
    growing: GrowingMask | None


def read_subject(item: Annotation, side: int) -> Subject:
    """Read one image and the object in it: its mask, or else all that its boxes cover.

    Pixels that a mask says not to measure count as background.

    Raises:
        InputError: The image or its mask cannot be read, or is not the annotated one.
    """
    frame = read_image(item.path)
    height, width = frame.shape[:2]
    if (reason := item.contradiction((height, width))) is not None:
        raise InputError(reason)
    if item.mask is not None:
        placement = place((height, width), InputPolicy(height=side, width=side))
        shown = network_mask(item.mask, placement, item.orientation((height, width))) == 1
    else:
        shown = box_mask(item.boxes_in((height, width)), (height, width), (side, side))
    growing = grow(shown) if shown.any() else None
    return Subject(resize_frame(frame, (side, side)), item.label, growing)
