"""A contact sheet of the images where the box is worst."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bas_edge.errors import InputError
from bas_edge.evaluation_report import WorstImage
from bas_edge.images import read_image
from bas_edge.overlay import heat_over

__all__ = ["save_sheet"]

COLUMNS = 4
TILE = 256  # longest side of a drawn image
CAPTION = 34
TRUTH_INK = (60, 220, 90)
PREDICTED_INK = (255, 70, 60)


def save_sheet(worst: Sequence[WorstImage], path: str | os.PathLike[str]) -> None:
    """Draw up to sixteen images, worst first, four a row, and write them as one picture.

    The map is laid over each image, hot where the foreground is; the annotated boxes are green,
    the predicted one is red.

    Raises:
        InputError: `worst` is empty, an image is gone, or `path` cannot be written.
    """
    if not worst:
        raise InputError(
            "There are no worst images to draw: localization was not measured.",
            hint="Evaluate on a CSV with the columns x0, y0, x1, y1.",
        )
    shown = worst[: COLUMNS * 4]
    rows = -(-len(shown) // COLUMNS)
    columns = min(COLUMNS, len(shown))
    sheet = Image.new("RGB", (columns * TILE, rows * (TILE + CAPTION)), (24, 24, 24))
    for n, one in enumerate(shown):
        sheet.paste(_tile(one), (n % COLUMNS * TILE, n // COLUMNS * (TILE + CAPTION)))
    try:
        sheet.save(Path(path))
    except (OSError, ValueError) as error:  # ValueError: a suffix Pillow does not know
        raise InputError(
            f"Cannot write {os.fspath(path)}: {error}.", hint="Write to a folder, as .png or .jpg."
        ) from error


def _tile(one: WorstImage) -> Image.Image:
    """One image with its map, boxes and two lines of text: [TILE + CAPTION, TILE]."""
    frame = Image.fromarray(read_image(one.path))
    scale = TILE / max(frame.size)
    size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
    heat = np.frombuffer(one.heat, np.uint8).reshape(one.heat_size)
    small = np.asarray(frame.resize(size, Image.Resampling.BILINEAR))
    picture = Image.fromarray(heat_over(small, heat))
    canvas = ImageDraw.Draw(picture)
    for boxes, ink in ((one.truth, TRUTH_INK), ((one.box,), PREDICTED_INK)):
        for box in boxes:
            x0, y0, x1, y1 = (round(edge * scale) for edge in box)
            canvas.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=ink, width=2)

    tile = Image.new("RGB", (TILE, TILE + CAPTION), (24, 24, 24))
    tile.paste(picture, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    text = ImageDraw.Draw(tile)
    font = ImageFont.load_default(size=12)
    verdict = f"{one.class_name}" if one.class_name == one.predicted else f"not {one.predicted}"
    text.text((4, TILE + 2), f"IoU {one.iou:.2f}  {Path(one.path).name}", (235, 235, 235), font)
    text.text((4, TILE + 17), f"{verdict} {one.score:.2f}", (170, 170, 170), font)
    return tile
