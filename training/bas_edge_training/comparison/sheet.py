"""The side-by-side sheet: a row for each image, a column for each method."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from bas_edge.errors import InputError
from bas_edge.evaluation_report import describe_threshold
from bas_edge.images import read_image
from bas_edge.map_tile import CAPTION, PAPER, TILE, caption, map_tile, write_picture

from .report import ComparedImage, ComparedMap, Comparison

__all__ = ["save_sheet"]


def save_sheet(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """See `Comparison.save_sheet`.

    Annotated boxes are green; each method's box, at the threshold it ships with, is red. Each map
    is scaled by its own range, as it is cut.
    """
    if not comparison.pictures:
        raise InputError("There are no images to draw.", hint="Ask for at least one.")
    titles = {each.name: each.title for each in comparison.methods}
    columns, rows = 1 + len(comparison.methods), len(comparison.pictures)
    sheet = Image.new("RGB", (columns * TILE, CAPTION + rows * (TILE + CAPTION)), PAPER)
    for column, lines in enumerate(_header(comparison)):
        sheet.paste(caption(lines), (column * TILE, 0))
    for row, image in enumerate(comparison.pictures):
        for column, tile in enumerate(_row(image, titles)):
            sheet.paste(tile, (column * TILE, CAPTION + row * (TILE + CAPTION)))
    write_picture(sheet, path)


def _header(comparison: Comparison) -> list[tuple[str, str]]:
    """What is drawn, and where each method cuts; two lines for each column."""
    annotated = "green: annotated, " if any(each.truth for each in comparison.pictures) else ""
    own = comparison.of_class == "label"
    shown = "maps of the label (engines: best class)" if own else "maps of the best class"
    return [
        (f"{annotated}red: found", shown),
        *((one.title, f"shipped cut: {describe_threshold(one.threshold)}")
          for one in comparison.methods),
    ]  # fmt: skip


def _row(image: ComparedImage, titles: dict[str, str]) -> list[Image.Image]:
    frame = read_image(image.path)
    named = map_tile(
        frame, None, truth=image.truth, lines=(Path(image.path).name, image.class_name)
    )
    return [named, *(_tile(frame, image, one, titles[one.method]) for one in image.maps)]


def _tile(frame: np.ndarray, image: ComparedImage, one: ComparedMap, title: str) -> Image.Image:
    return map_tile(
        frame,
        np.frombuffer(one.heat, np.uint8).reshape(one.heat_size),
        truth=image.truth,
        predicted=(one.box,),
        lines=(title, "" if one.iou is None else f"IoU {one.iou:.2f}"),
    )
