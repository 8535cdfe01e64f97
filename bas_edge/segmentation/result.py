"""What a Segmenter says of one frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bas_edge.drawing import draw_legend
from bas_edge.results import Box, ColorOrder, Timing, check_drawing, scaled
from bas_edge.segmentation.masks import palette

__all__ = ["Segmentation", "SegmentedClass"]

_OPACITY = 0.6


@dataclass(frozen=True, slots=True)
class SegmentedClass:
    """One class of a frame.

    Attributes:
        label: Index in `Segmenter.classes`; the mask has label + 1.
        class_name: Its name.
        box: (x0, y0, x1, y1) in pixels of the original frame, half-open: around the largest
            8-connected part of the class.
        area: Fraction of the frame that the class covers, 0 to 1.
        score: None: a segmenter gives no probability.
    """

    label: int
    class_name: str
    box: Box
    area: float
    score: None = None

    @property
    def text(self) -> str:
        """The class and its share of the frame: "dog 31 %"."""
        share = f"{100 * self.area:.0f}" if self.area >= 0.01 else "< 1"
        return f"{self.class_name} {share} %"


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

    @property
    def best(self) -> SegmentedClass | None:
        """The class with the largest area; None where all is background."""
        return self.objects[0] if self.objects else None

    def draw(
        self,
        frame: NDArray[np.uint8],
        *,
        color: ColorOrder = "rgb",
        opacity: float | None = None,
        legend: bool = True,
    ) -> NDArray[np.uint8]:
        """A copy of `frame` [H, W, 3] uint8 with each class in its colour of VOC over it.

        Args:
            frame: The frame this result came from, or one of the same size.
            color: The order of `frame`'s channels; the copy keeps it.
            opacity: 0 leaves the frame as it is, 1 hides what is under a class, to 1/255; None
                is 0.6.
            legend: Name the classes and their areas in the upper left corner, as many as fit.

        Raises:
            InputError: `frame` is not uint8 [H, W, 3] of `frame_size`, or no such opacity.
        """
        check_drawing(frame, self.frame_size, color, opacity)
        colours = palette() if color == "rgb" else palette()[:, ::-1]
        picture = Image.fromarray(np.ascontiguousarray(frame))
        classes = Image.fromarray(self.mask)
        over = round(255 * (_OPACITY if opacity is None else opacity))
        opaque = classes.point([0] + [over] * 255)
        classes.putpalette(colours.tobytes())
        picture.paste(classes.convert("RGB"), mask=opaque)
        drawn = np.array(picture)
        if legend:
            inks = colours.tolist()
            draw_legend(drawn, [(one.text, tuple(inks[1 + one.label])) for one in self.objects])
        return drawn

    def resized(self, frame_size: tuple[int, int]) -> Segmentation:
        """The same on a copy of the frame with the size (H, W): the mask takes nearest pixels."""
        size = (frame_size[1], frame_size[0])
        mask = np.asarray(Image.fromarray(self.mask).resize(size, Image.Resampling.NEAREST))
        objects = (
            replace(one, box=scaled(one.box, self.frame_size, frame_size)) for one in self.objects
        )
        return Segmentation(mask, tuple(objects), self.timing)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the mask, as plain JSON types; box corners in frame pixels."""
        height, width = self.frame_size
        return {
            "found": self.found,
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
            "timing_ms": self.timing.to_dict(),
        }
