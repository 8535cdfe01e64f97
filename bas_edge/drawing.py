"""Boxes and text plates on a frame, for the cost of one copy of the frame."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_boxes", "draw_legend"]

Ink = tuple[int, int, int]
_DARK = 100.0  # of 255: up to this the text on an ink is white


def draw_boxes(
    frame: NDArray[np.uint8],
    boxes: Sequence[tuple[float, float, float, float]],
    text: str,
    ink: Ink,
) -> NDArray[np.uint8]:
    """A copy of `frame` with the outline of each box, and `text` at the first one.

    Args:
        frame: [H, W, 3] uint8.
        boxes: (x0, y0, x1, y1) in pixels, half-open. At least one.
        text: On a plate of `ink`, above the first box where there is room.
        ink: In the order of `frame`'s channels.

    Returns:
        [H, W, 3] uint8, contiguous. Pixel by pixel what Pillow's `ImageDraw` makes of the same
        rectangles and text.
    """
    height, width = frame.shape[:2]
    line = max(2, round(min(height, width) / 200))
    drawn = np.array(frame, order="C")
    for box in boxes:
        x0, y0, x1, y1 = (round(edge) for edge in box)
        _outline(drawn, (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), ink, line)
    plate = _plate(text, _text_size(height, width), line, ink)
    x = min(max(0, round(boxes[0][0])), max(0, width - (plate.shape[1] - 1)))
    y = round(boxes[0][1]) - (plate.shape[0] - 1)
    y = y if y >= 0 else round(boxes[0][1])  # no room above the box: inside its upper edge
    target = drawn[y : y + plate.shape[0], x : x + plate.shape[1]]
    target[...] = plate[: target.shape[0], : target.shape[1]]
    return drawn


def draw_legend(drawn: NDArray[np.uint8], entries: Sequence[tuple[str, Ink]]) -> None:
    """Plates with text, one under another, in the upper left corner.

    Args:
        drawn: [H, W, 3] uint8, contiguous; it is drawn on.
        entries: Texts, and the ink of their plates in the order of the channels. Those for which
            there is no room are left out.
    """
    height, width = drawn.shape[:2]
    line = max(2, round(min(height, width) / 200))
    plates = [_plate(text, _text_size(height, width), line, ink) for text, ink in entries]
    row = max((plate.shape[0] for plate in plates), default=0)
    for at, (plate, (_, ink)) in enumerate(zip(plates, entries, strict=True)):
        top = line + at * row
        target = drawn[top : top + row, line : line + plate.shape[1]]
        if target.shape[0] < row:
            break
        target[...] = ink
        above = (row - plate.shape[0]) // 2  # text with no letter as high or low as others
        target[above : above + plate.shape[0]] = plate[:, : target.shape[1]]


def _text_size(height: int, width: int) -> int:
    return max(10, round(min(height, width) / 28))


def _outline(drawn: NDArray[np.uint8], box: tuple[int, int, int, int], ink: Ink, line: int) -> None:
    """The outline of a box whose corners are all inside it; `line` thick, inwards.

    One thinner than two lines gets wider, as it does with Pillow.
    """
    x0, y0, x1, y1 = box
    first, last = y0 + line, y1 - line  # of the sides, between the upper and the lower edge
    if last < first:
        first, last = last + 2, first
    _fill(drawn, x0, x1, y0, y0 + line - 1, ink)
    _fill(drawn, x0, x1, y1 - line + 1, y1, ink)
    _fill(drawn, x0, x0 + line - 1, first, last, ink)
    _fill(drawn, x1 - line + 1, x1, first, last, ink)


def _fill(drawn: NDArray[np.uint8], x0: int, x1: int, y0: int, y1: int, ink: Ink) -> None:
    drawn[max(0, y0) : max(0, y1 + 1), max(0, x0) : max(0, x1 + 1)] = ink


@functools.lru_cache(maxsize=64)  # a plate is some 30 kB at 720p, and 270 kB at 2160p
def _plate(text: str, size: int, line: int, ink: Ink) -> NDArray[np.uint8]:
    """[h, w, 3] uint8: `text`, black or white, with a margin of `line` on a plate of `ink`."""
    from PIL import Image, ImageDraw

    font = _font(size)
    light = (ink[0] + 2 * ink[1] + ink[2]) / 4  # the same in either order of the channels
    fill = (0, 0, 0) if light > _DARK else (255, 255, 255)
    left, top, right, bottom = font.getbbox(text)
    width, height = round(right - left) + 2 * line + 1, round(bottom - top) + 2 * line + 1
    image = Image.new("RGB", (width, height), ink)
    ImageDraw.Draw(image).text((line - left, line - top), text, fill=fill, font=font)
    plate = np.array(image)
    plate.setflags(write=False)
    return plate


@functools.lru_cache(maxsize=8)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)
