"""Pictures of results, for people: boxes on held-out images and on moments of a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bas_edge import Localizer
from bas_edge.annotations import Annotations
from bas_edge.errors import InputError
from bas_edge.images import read_image
from bas_edge.video.sources.video_source import VideoSource

from .contact_sheet import overlay

__all__ = ["draw_results", "draw_video_strip"]

TILE = (240, 180)  # W, H of one picture on a sheet
TRUTH_INK = (255, 255, 255)
GAP = 4


def draw_results(localizer: Localizer, annotations: Annotations, output: Path) -> Path:
    """Each image with its box (and the known ones, dashed), and beside it its foreground map.

    Images that cannot be read are left out.

    Raises:
        InputError: Not one image can be read.
    """
    tiles = []
    for item in annotations.items:
        try:
            frame = read_image(item.path)
        except InputError:
            continue
        result = localizer.run(frame, color="rgb")
        boxes = Image.fromarray(result.draw(frame, color="rgb"))
        if item.boxes is not None:
            for box in item.boxes:
                _dashed(boxes, box)
        tiles += [_tile(boxes), _tile(Image.fromarray(overlay(frame, result.map)))]
    if not tiles:
        raise InputError("None of the images to show can be read.")
    return _sheet(tiles, 6, output)


def draw_video_strip(video: Path, output: Path, count: int = 6) -> Path:
    """`count` frames of a video, evenly spread, in one row of at most six."""
    kept: list[NDArray[np.uint8]] = []
    every = 1
    for frame in VideoSource(video):  # thin out as it grows: no second pass, bounded memory
        if frame.index % every == 0:
            kept.append(frame.pixels)
        if len(kept) >= 4 * count:
            kept, every = kept[::2], 2 * every
    places = np.linspace(0, len(kept) - 1, min(count, len(kept))).round().astype(int)
    return _sheet([_tile(Image.fromarray(kept[place])) for place in places], 6, output)


def _tile(picture: Image.Image) -> Image.Image:
    """The picture inside a TILE, whole, on a dark ground."""
    tile = Image.new("RGB", TILE, (24, 24, 28))
    scale = min(TILE[0] / picture.width, TILE[1] / picture.height)
    fitted = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
    picture = picture.resize(fitted, Image.Resampling.LANCZOS)
    tile.paste(picture, ((TILE[0] - picture.width) // 2, (TILE[1] - picture.height) // 2))
    return tile


def _sheet(tiles: list[Image.Image], columns: int, output: Path) -> Path:
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    step_x, step_y = TILE[0] + GAP, TILE[1] + GAP
    sheet = Image.new("RGB", (columns * step_x - GAP, rows * step_y - GAP), (255, 255, 255))
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % columns * step_x, place // columns * step_y))
    sheet.save(output)
    return output


def _dashed(picture: Image.Image, box: NDArray[np.float64], dash: int = 5) -> None:
    """A dashed rectangle around a half-open xyxy box."""
    draw = ImageDraw.Draw(picture)
    x0, y0, x1, y1 = (round(float(edge)) for edge in box)
    for x in range(x0, x1, 2 * dash):
        for y in (y0, y1 - 1):
            draw.line((x, y, min(x + dash, x1) - 1, y), fill=TRUTH_INK)
    for y in range(y0, y1, 2 * dash):
        for x in (x0, x1 - 1):
            draw.line((x, y, x, min(y + dash, y1) - 1), fill=TRUTH_INK)
