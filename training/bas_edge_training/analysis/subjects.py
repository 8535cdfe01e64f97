"""Images with their objects, as the network's input shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bas_edge.annotations import Annotation
from bas_edge.errors import InputError
from bas_edge.images import read_image
from bas_edge.ops import resize_frame
from bas_edge_training.analysis.growth import GrowingMask, box_mask, grow, sampled_mask
from bas_edge_training.analysis.report import LeftOut

__all__ = ["MaskOf", "Subject", "read_subject"]

MaskOf = Callable[[Annotation], "NDArray[np.bool_] | None"]
"""Gives the mask of an annotation, bool [H, W] in pixels of its upright image, or None."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One image at the network's size, with its object.

    Attributes:
        frame: uint8 [side, side, 3] RGB, the whole image stretched.
        label: Its class.
        truth: What the object was taken from.
        growing: The object's masks, of side × side pixels.
    """

    frame: NDArray[np.uint8]
    label: int
    truth: Literal["boxes", "masks"]
    growing: GrowingMask


def read_subject(item: Annotation, side: int, mask_of: MaskOf | None) -> Subject | LeftOut:
    """Read one image and the object in it: all that its mask, or else its boxes, cover.

    Raises:
        InputError: The image cannot be read, or is not of the annotated size.
    """
    frame = read_image(item.path)
    height, width = frame.shape[:2]
    if (reason := item.contradiction((height, width))) is not None:
        raise InputError(reason)
    mask = None if mask_of is None else mask_of(item)
    if mask is not None:
        if mask.shape != (height, width):
            raise InputError(
                f"{item.path} is {width} × {height}, but its mask is "
                f"{' × '.join(map(str, mask.shape[::-1]))}."
            )
        shown = sampled_mask(mask, (side, side))
    elif item.boxes is not None:
        shown = box_mask(item.boxes, (height, width), (side, side))
    else:
        return LeftOut(
            path=str(item.path),
            kind="unannotated",
            reason=f"{item.path} has neither a box nor a mask.",
        )
    if not shown.any():
        return LeftOut(
            path=str(item.path),
            kind="invisible",
            reason=f"The object of {item.path} covers no pixel of the {side} × {side} input.",
        )
    frame = resize_frame(frame, (side, side))
    return Subject(frame, item.label, "masks" if mask is not None else "boxes", grow(shown))
