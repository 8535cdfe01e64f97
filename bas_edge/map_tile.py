"""One image with its map and boxes as a small picture with a caption, for sheets of many."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bas_edge.errors import InputError
from bas_edge.overlay import heat_over

__all__ = ["CAPTION", "PAPER", "TILE", "caption", "map_tile", "write_picture"]

Box = tuple[float, float, float, float]

TILE = 256  # longest side of a drawn image
CAPTION = 34
PAPER = (24, 24, 24)
_TRUTH_INK = (60, 220, 90)
_PREDICTED_INK = (255, 70, 60)
_TEXT_INKS = ((235, 235, 235), (170, 170, 170))


def map_tile(
    frame: NDArray[np.uint8],
    heat: NDArray[np.uint8] | None,
    *,
    truth: Sequence[Box] = (),
    predicted: Sequence[Box] = (),
    lines: Sequence[str] = (),
) -> Image.Image:
    """A picture TILE wide and TILE + CAPTION high.

    Args:
        frame: [H, W, 3] uint8 RGB.
        heat: [h, w] uint8 over the whole frame, laid over it; None leaves it as it is.
        truth, predicted: Boxes in pixels of the frame, xyxy half-open; green and red.
        lines: Up to two of text, below.
    """
    scale = TILE / max(frame.shape[:2])
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    resized = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
    picture = resized if heat is None else Image.fromarray(heat_over(np.asarray(resized), heat))
    canvas = ImageDraw.Draw(picture)
    for boxes, ink in ((truth, _TRUTH_INK), (predicted, _PREDICTED_INK)):
        for box in boxes:
            x0, y0, x1, y1 = (round(edge * scale) for edge in box)
            canvas.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=ink, width=2)

    tile = Image.new("RGB", (TILE, TILE + CAPTION), PAPER)
    tile.paste(picture, ((TILE - width) // 2, (TILE - height) // 2))
    tile.paste(caption(lines), (0, TILE))
    return tile


def caption(lines: Sequence[str]) -> Image.Image:
    """A strip TILE wide and CAPTION high with up to two lines of text."""
    strip = Image.new("RGB", (TILE, CAPTION), PAPER)
    text = ImageDraw.Draw(strip)
    font = ImageFont.load_default(size=12)
    for at, (line, ink) in enumerate(zip(lines, _TEXT_INKS, strict=False)):
        text.text((4, 2 + 15 * at), line, ink, font)
    return strip


def write_picture(picture: Image.Image, path: str | os.PathLike[str]) -> None:
    """Save in the format that the name ends with.

    Raises:
        InputError: It cannot be written, or the ending is not known.
    """
    try:
        picture.save(Path(path))
    except (OSError, ValueError) as error:  # ValueError: a suffix Pillow does not know
        raise InputError(
            f"Cannot write {os.fspath(path)}: {error}.", hint="Write to a folder, as .png or .jpg."
        ) from error
