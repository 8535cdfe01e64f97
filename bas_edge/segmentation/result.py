"""What a Segmenter says of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.results import Box, ColorOrder, Timing, check_color
from bas_edge.segmentation.masks import palette

__all__ = ["Segmentation", "SegmentedClass"]


@dataclass(frozen=True, slots=True)
class SegmentedClass:
    """One class of a frame.

    Attributes:
        label: Index in `Segmenter.classes`; the mask has label + 1.
        class_name: Its name.
        box: (x0, y0, x1, y1) in pixels of the original frame, half-open: around the largest
            8-connected part of the class.
        area: Fraction of the frame that the class covers, 0 to 1.
    """

    label: int
    class_name: str
    box: Box
    area: float


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """Which class each pixel of one frame is.

    Attributes:
        mask: uint8 [H, W] at the original frame's size: 0 is background, c + 1 the class c.
            The mask is decided at the network's input size; each pixel of the frame takes the
            value of the network pixel under its centre, and 0 where the engine's resize policy
            did not show the frame.
        objects: The classes in it, largest area first; empty where all is background.
        timing: How long each stage took.
    """

    mask: NDArray[np.uint8]
    objects: tuple[SegmentedClass, ...]
    timing: Timing

    @property
    def found(self) -> bool:
        """Whether there is anything but background."""
        return bool(self.objects)

    @property
    def frame_size(self) -> tuple[int, int]:
        """(H, W) of the original frame."""
        return self.mask.shape[0], self.mask.shape[1]

    def draw(
        self, frame: NDArray[np.uint8], *, color: ColorOrder = "rgb", opacity: float = 0.6
    ) -> NDArray[np.uint8]:
        """A copy of `frame` [H, W, 3] uint8 with each class in its colour of VOC over it.

        Args:
            frame: The frame this result came from, or one of the same size.
            color: The order of `frame`'s channels; the copy keeps it.
            opacity: 0 leaves the frame as it is, 1 hides what is under a class.

        Raises:
            InputError: `frame` is not uint8 [H, W, 3] of `frame_size`, or no such opacity.
        """
        check_color(color)
        if frame.shape != (*self.mask.shape, 3) or frame.dtype != np.uint8:
            height, width = self.frame_size
            raise InputError(
                f"Cannot draw on a {frame.dtype} frame of shape {list(frame.shape)}: "
                f"the result is for a uint8 frame of shape [{height}, {width}, 3].",
                hint="Pass the frame that was given to run().",
            )
        if not 0 <= opacity <= 1:
            raise InputError(f"opacity is {opacity}, but must be 0 to 1.")
        colours = palette() if color == "rgb" else palette()[:, ::-1]
        inside = self.mask > 0
        drawn = np.array(frame, order="C")
        mixed = drawn[inside] * (1 - opacity) + colours[self.mask[inside]] * opacity
        drawn[inside] = np.rint(mixed).astype(np.uint8)
        return drawn

    def to_dict(self) -> dict[str, Any]:
        """Everything but the mask, as plain JSON types; box corners in frame pixels."""
        height, width = self.frame_size
        return {
            "objects": [
                {
                    "label": found.label,
                    "class_name": found.class_name,
                    "box": list(found.box),
                    "area": found.area,
                }
                for found in self.objects
            ],
            "width": width,
            "height": height,
            "timing_ms": {
                "pre": self.timing.pre_ms,
                "infer": self.timing.infer_ms,
                "post": self.timing.post_ms,
                "total": self.timing.total_ms,
            },
        }
