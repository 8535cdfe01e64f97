"""Where a frame lies on the network's input, and the way back.

Each resize policy shows one rectangle of the frame in one rectangle of the input:

    policy       of the frame         on the input
    stretch      all                  all (aspect ratio not kept)
    letterbox    all                  the largest centred rectangle of the frame's aspect ratio,
                                      the rest is grey 128
    centre_crop  the largest centred  all
                 rectangle of the
                 input's aspect ratio
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.manifest import InputPolicy, ThresholdPolicy
from bas_edge.ops import maps_to_masks, repeat_pixels, resize_frame
from bas_edge.overlay import heat_on_frame, heat_over
from bas_edge.results import Box, ColorOrder

__all__ = ["InputMask", "Placement", "frame_to_input", "place"]

PADDING = 128

_Pixel = TypeVar("_Pixel", np.bool_, np.uint8)
_Rectangle = tuple[int, int, int, int]  # xyxy half-open, whole pixels


@dataclass(frozen=True, slots=True)
class Placement:
    """One rectangle of the frame, shown in one rectangle of the input.

    Attributes:
        frame_size: (H, W) of the frame.
        input_size: (h, w) of the network's input.
        shown: What of the frame is shown, in frame pixels.
        target: Where on the input, in input pixels.
    """

    frame_size: tuple[int, int]
    input_size: tuple[int, int]
    shown: _Rectangle
    target: _Rectangle

    @property
    def scale(self) -> tuple[float, float]:
        """Frame pixels per input pixel, along x and y."""
        (sx0, sy0, sx1, sy1), (tx0, ty0, tx1, ty1) = self.shown, self.target
        return (sx1 - sx0) / (tx1 - tx0), (sy1 - sy0) / (ty1 - ty0)

    def box_to_frame(self, box: tuple[int, int, int, int]) -> Box | None:
        """An input box in frame pixels, clipped to what was shown; None if that leaves nothing."""
        (scale_x, scale_y), (left, top, right, bottom) = self.scale, self.shown
        x0, x1 = (left + (x - self.target[0]) * scale_x for x in (box[0], box[2]))
        y0, y1 = (top + (y - self.target[1]) * scale_y for y in (box[1], box[3]))
        x0, y0 = max(x0, float(left)), max(y0, float(top))
        x1, y1 = min(x1, float(right)), min(y1, float(bottom))
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    def mask_to_frame(self, mask: NDArray[_Pixel]) -> NDArray[_Pixel]:
        """Input mask [h, w] → [H, W]: the input pixel under each frame pixel's centre.

        0 where the frame was not shown.
        """
        return self.counted_on_frame(mask.view(np.uint8))[0].view(mask.dtype)

    def counted_on_frame(
        self, mask: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The same, and how many pixels of the frame have each value: [256]."""
        (scale_x, scale_y), (left, top, right, bottom) = self.scale, self.shown
        height, width = self.input_size
        columns = _times_seen(right - left, scale_x, self.target[0], width)
        rows = _times_seen(bottom - top, scale_y, self.target[1], height)
        seen, counts = repeat_pixels(mask, rows, columns)
        if seen.shape == self.frame_size:
            return seen, counts
        whole = np.zeros(self.frame_size, np.uint8)
        whole[top:bottom, left:right] = seen
        counts[0] += whole.size - seen.size
        return whole, counts


@lru_cache(maxsize=64)
def place(frame_size: tuple[int, int], policy: InputPolicy) -> Placement:
    """How frames of (H, W) are shown to a network with this input policy."""
    (height, width), (h, w) = frame_size, (policy.height, policy.width)
    shown, target = (0, 0, width, height), (0, 0, w, h)
    if policy.resize == "letterbox":
        zoom = min(h / height, w / width)
        target = _centred(target, max(1, round(width * zoom)), max(1, round(height * zoom)))
    elif policy.resize == "centre_crop":
        zoom = min(height / h, width / w)
        shown = _centred(shown, max(1, round(w * zoom)), max(1, round(h * zoom)))
    return Placement(frame_size, (h, w), shown, target)


def frame_to_input(frame: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Frame [H, W, 3] → network input [h, w, 3], C-contiguous, channels in the same order."""
    x0, y0, x1, y1 = placement.shown
    left, top, right, bottom = placement.target
    resized = resize_frame(frame[y0:y1, x0:x1], (bottom - top, right - left))
    if resized.shape[:2] == placement.input_size:
        return resized
    padded = np.full((*placement.input_size, 3), PADDING, np.uint8)
    padded[top:bottom, left:right] = resized
    return padded


@dataclass(frozen=True, slots=True)
class InputMask:
    """Cuts a foreground map at the network's input size and shows it on the frame."""

    placement: Placement
    threshold: ThresholdPolicy

    def mask(self, foreground: NDArray[np.float32]) -> NDArray[np.bool_]:
        """[h, w] map → [H, W] mask of the largest component, which the box encloses."""
        policy = self.threshold
        size = self.placement.input_size
        masks = maps_to_masks(foreground[None], size, policy.value, rule=policy.rule)
        return self.placement.mask_to_frame(masks[0])

    def shade(
        self,
        frame: NDArray[np.uint8],
        foreground: NDArray[np.float32],
        opacity: float,
        color: ColorOrder,
    ) -> NDArray[np.uint8]:
        """The [h, w] map over a frame [H, W, 3] of any size; see `heat_over`."""
        return heat_over(frame, heat_on_frame(foreground, self.placement), opacity, color)


def _times_seen(pixels: int, scale: float, first: int, lines: int) -> NDArray[np.int64]:
    """For each line of the input, how many of the frame have their centre on it: [lines]."""
    on = ((np.arange(pixels) + 0.5) / scale).astype(np.int64) + first
    return np.bincount(on, minlength=lines).astype(np.int64, copy=False)


def _centred(outer: _Rectangle, width: int, height: int) -> _Rectangle:
    left, top = (outer[2] - width) // 2, (outer[3] - height) // 2
    return left, top, left + width, top + height
