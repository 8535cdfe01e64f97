"""What running an engine on one frame gives back."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bas_edge._require import require
from bas_edge.drawing import draw_boxes
from bas_edge.errors import InputError

__all__ = ["Box", "ColorOrder", "Localization", "LocalizedObject", "MaskSource", "Timing"]

Box = tuple[float, float, float, float]
ColorOrder = Literal["rgb", "bgr"]

_GOLDEN_RATIO = 0.618033988749895  # successive labels land far apart on the colour wheel


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock milliseconds of one frame, by stage.

    In a batch each frame carries its chunk's times divided by the frames in it. On a GPU, resize
    and boxes are one graph with the network: `pre_ms` is then the copy into page-locked memory,
    `infer_ms` all that the GPU does and, after `submit`, the time until the result is asked for,
    and `post_ms` the reading of what came back.

    Attributes:
        pre_ms: Checking the frame and resizing it to the network's input.
        infer_ms: The network.
        post_ms: From the network's outputs to the box.
    """

    pre_ms: float
    infer_ms: float
    post_ms: float

    @property
    def total_ms(self) -> float:
        """The three stages together."""
        return self.pre_ms + self.infer_ms + self.post_ms

    def to_dict(self) -> dict[str, float]:
        """JSON-ready: milliseconds by stage, and "total"."""
        return {
            "pre": self.pre_ms,
            "infer": self.infer_ms,
            "post": self.post_ms,
            "total": self.total_ms,
        }


class MaskSource(Protocol):
    """Knows where a foreground map lies on its frame; a Localizer hands one to each result."""

    def mask(self, foreground: NDArray[np.float32]) -> NDArray[np.bool_]:
        """[h, w] map → [H, W] mask of the original frame."""
        ...

    def shade(
        self,
        frame: NDArray[np.uint8],
        foreground: NDArray[np.float32],
        opacity: float,
        color: ColorOrder,
    ) -> NDArray[np.uint8]:
        """The [h, w] map as heat over a frame [H, W, 3], or over a copy of it of any size."""
        ...


@dataclass(frozen=True, slots=True)
class LocalizedObject:
    """One box of a Localization, as every task gives its objects.

    Attributes:
        label: Index of its class.
        class_name: Its name.
        box: (x0, y0, x1, y1) in pixels of the original frame, half-open.
        score: Softmax probability of the class, 0 to 1.
        area: None: how much of the box the object covers is not known.
    """

    label: int
    class_name: str
    box: Box
    score: float
    area: None = None

    @property
    def text(self) -> str:
        """The class and its score: "wren 0.93"."""
        return f"{self.class_name} {self.score:.2f}"


@dataclass(frozen=True, slots=True, eq=False)
class Localization:
    """Where the main object of one frame is, and what it is.

    Attributes:
        box: (x0, y0, x1, y1) in pixels of the *original* frame, half-open (width is
            x1 - x0), inside the frame. The whole frame, (0, 0, W, H), when not `found`.
        label: Index of the best class in `Localizer.classes`; ties go to the lower index.
        class_name: The name of `label`.
        score: Softmax probability of `label`, 0 to 1.
        found: False when no pixel passed the threshold, or `score` is under the
            engine's `min_score`. A smoothed result stays found for longer (docs/steady.md).
        map: [h, w] float32, the foreground map at the network's own resolution,
            aggregated over classes, unnormalised. [0, 0] with `boxes_only`.
        timing: How long each stage took.
        frame_size: (H, W) of the original frame.
        scores: [C] float32, softmax probability of every class. [0] with `boxes_only`.
        boxes: Every box, largest object first and `box` among them, when the Localizer was
            opened with `max_boxes` > 1; otherwise empty. Empty when not `found`.
    """

    box: Box
    label: int
    class_name: str
    score: float
    found: bool
    map: NDArray[np.float32]
    timing: Timing
    frame_size: tuple[int, int]
    scores: NDArray[np.float32]
    boxes: tuple[Box, ...] = ()
    mask_source: MaskSource | None = field(default=None, repr=False)

    def mask(self) -> NDArray[np.bool_]:
        """[H, W] bool at the original frame's size: the object that `box` encloses.

        The mask is cut at the network's input size, exactly as the box is, and each pixel
        of the frame takes the value of the network pixel under its centre. So its outline
        agrees with `box` to half a pixel of the coarser of the two grids. All False when not
        `found`, and wherever the engine's resize policy did not show the frame to the network.

        Raises:
            InputError: This result was not made by a Localizer.
        """
        if not self.found:
            return np.zeros(self.frame_size, np.bool_)
        if self.mask_source is None:
            raise InputError(
                "This Localization carries no map, so it has no mask.",
                hint="Use the result of a Localizer that was opened without boxes_only.",
            )
        return self.mask_source.mask(self.map)

    @property
    def best(self) -> LocalizedObject:
        """The class of the frame and its `box`, also when not `found`."""
        return LocalizedObject(self.label, self.class_name, self.box, self.score)

    @property
    def objects(self) -> tuple[LocalizedObject, ...]:
        """One of each box, all of one class; empty when not `found`."""
        boxes = (self.boxes or (self.box,)) if self.found else ()
        return tuple(replace(self.best, box=box) for box in boxes)

    def draw(
        self, frame: NDArray[np.uint8], *, color: ColorOrder = "rgb", opacity: float | None = None
    ) -> NDArray[np.uint8]:
        """A copy of `frame` [H, W, 3] uint8 with the boxes and the class name drawn on it.

        Line width and text follow the frame's size. No box is drawn when not `found`.

        Args:
            frame: The frame this result came from, or one of the same size.
            color: The order of `frame`'s channels; the copy keeps it.
            opacity: Of the map under the boxes, 0 to 1; None is 0. A result with `boxes_only` has
                no map to show.

        Raises:
            InputError: `frame` is not uint8 [H, W, 3] of `frame_size`, or no such opacity.
        """
        check_drawing(frame, self.frame_size, color, opacity)
        if opacity and self.mask_source is not None:
            frame = self.mask_source.shade(frame, self.map, opacity, color)
        if not self.found:
            return frame.copy()
        boxes = self.boxes or (self.box,)
        return draw_boxes(frame, boxes, self.best.text, _label_color(self.label, color))

    def resized(self, frame_size: tuple[int, int]) -> Localization:
        """The same with its boxes on a copy of the frame with the size (H, W), to draw there.

        Its `mask` keeps the size of the original frame.
        """
        box, *boxes = (scaled(one, self.frame_size, frame_size) for one in (self.box, *self.boxes))
        return replace(self, box=box, boxes=tuple(boxes), frame_size=frame_size)

    def to_supervision(self, *, mask: bool = False) -> Any:
        """As `supervision.Detections`, for its trackers' and annotators' sake (docs/steady.md).

        One detection per box: all of `boxes` where there are any, else `box`; none when not
        `found`. Of the fields, `xyxy` [n, 4] float32 in frame pixels, `confidence` [n] float32
        and `class_id` [n] int are `box`, `score` and `label`: a Localizer names one class a
        frame, so all boxes have it. `data["class_name"]` [n] is its name.

        Args:
            mask: Also set `mask`, [1, H, W] bool. Only the largest object has one, so it is
                refused with more than one box.

        Raises:
            MissingExtraError: supervision is not installed.
            InputError: `mask` with several boxes, or for a result that has none.
        """
        purpose = "Localization.to_supervision()"
        supervision = require("supervision", extra="tracking", purpose=purpose)
        boxes = (self.boxes or (self.box,)) if self.found else ()
        if mask and len(boxes) > 1:
            raise InputError(
                f"There are {len(boxes)} boxes, but a mask only of the largest object.",
                hint="Leave mask out, or open the Localizer with max_boxes=1.",
            )
        count = len(boxes)
        return supervision.Detections(
            xyxy=np.array(boxes, np.float32).reshape(count, 4),
            mask=self.mask()[None][:count] if mask else None,
            confidence=np.full(count, self.score, np.float32),
            class_id=np.full(count, self.label, np.int64),
            data={"class_name": np.array([self.class_name] * count, dtype=np.str_)},
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, as plain JSON types; box corners in frame pixels."""
        height, width = self.frame_size
        fields: dict[str, Any] = {
            "box": list(self.box),
            "label": self.label,
            "class_name": self.class_name,
            "score": self.score,
            "found": self.found,
            "width": width,
            "height": height,
            "timing_ms": self.timing.to_dict(),
        }
        if self.boxes:
            fields["boxes"] = [list(box) for box in self.boxes]
        return fields


def check_color(color: str) -> None:
    """Refuse a channel order other than "rgb" and "bgr"."""
    if color not in ("rgb", "bgr"):
        raise InputError(
            f"Unknown color order {color!r}: it must be 'rgb' or 'bgr'.",
            hint="OpenCV frames are 'bgr'; Pillow, PyAV and imageio frames are 'rgb'.",
        )


def scaled(box: Box, size: tuple[int, int], new_size: tuple[int, int]) -> Box:
    """A box of a frame of `size` (H, W), on a copy of it with `new_size`."""
    down, across = new_size[0] / size[0], new_size[1] / size[1]
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def check_drawing(
    frame: NDArray[np.uint8], size: tuple[int, int], color: str, opacity: float | None
) -> None:
    """Refuse what a result for frames of `size` (H, W) cannot be drawn on, or not so."""
    if frame.shape != (*size, 3) or frame.dtype != np.uint8:
        raise InputError(
            f"Cannot draw on a {frame.dtype} frame of shape {list(frame.shape)}: "
            f"the result is for a uint8 frame of shape [{size[0]}, {size[1]}, 3].",
            hint="Pass the frame that was given to run().",
        )
    check_color(color)
    if opacity is not None and not 0 <= opacity <= 1:
        raise InputError(f"opacity is {opacity}, but must be 0 to 1.")


def _label_color(label: int, color: ColorOrder) -> tuple[int, int, int]:
    """A bright colour of its own for each label, readable under black text."""
    red, green, blue = colorsys.hsv_to_rgb((0.33 + label * _GOLDEN_RATIO) % 1, 0.65, 1.0)
    rgb = (round(red * 255), round(green * 255), round(blue * 255))
    return rgb if color == "rgb" else (rgb[2], rgb[1], rgb[0])
