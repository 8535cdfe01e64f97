"""A contact sheet of the images where the box is worst."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bas_edge.errors import InputError
from bas_edge.evaluation_report import WorstImage
from bas_edge.images import read_image
from bas_edge.map_tile import CAPTION, PAPER, TILE, map_tile, write_picture

__all__ = ["save_sheet"]

COLUMNS = 4


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
            hint="Evaluate on images with boxes, or without the picture.",
        )
    shown = worst[: COLUMNS * 4]
    rows = -(-len(shown) // COLUMNS)
    columns = min(COLUMNS, len(shown))
    sheet = Image.new("RGB", (columns * TILE, rows * (TILE + CAPTION)), PAPER)
    for n, one in enumerate(shown):
        sheet.paste(_tile(one), (n % COLUMNS * TILE, n // COLUMNS * (TILE + CAPTION)))
    write_picture(sheet, path)


def _tile(one: WorstImage) -> Image.Image:
    verdict = one.class_name if one.class_name == one.predicted else f"not {one.predicted}"
    return map_tile(
        read_image(one.path),
        np.frombuffer(one.heat, np.uint8).reshape(one.heat_size),
        truth=one.truth,
        predicted=(one.box,),
        lines=(f"IoU {one.iou:.2f}  {Path(one.path).name}", f"{verdict} {one.score:.2f}"),
    )
