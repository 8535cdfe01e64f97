"""A picture of the same images and their maps, drawn after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bas_edge_training.atomic import replace_atomically
from bas_edge_training.image_store import ImageStore
from bas_edge_training.models import BasModel
from bas_edge_training.trainer import to_network
from bas_edge_training.validation import evaluation_mode

__all__ = ["draw_contact_sheet", "overlay", "sample_indices"]

_COLUMNS, _CAPTION = 4, 26


def sample_indices(labels: Sequence[int], count: int = 12) -> list[int]:
    """The first image of up to `count` classes, evenly spread over the classes."""
    firsts = {label: i for i, label in reversed(list(enumerate(labels)))}
    classes = sorted(firsts)
    if not classes:
        return []
    chosen = np.linspace(0, len(classes) - 1, min(count, len(classes))).round().astype(int)
    return [firsts[classes[i]] for i in chosen]


def draw_contact_sheet(
    model: BasModel,
    images: ImageStore,
    labels: Sequence[int],
    classes: Sequence[str],
    indices: Sequence[int],
    output: Path,
    device: torch.device,
) -> None:
    """Tiles with the map of the image's own class over it; unreadable images are left out.

    A class name in red was not the best class of that image.
    """
    read = [(i, images.pixels(i)) for i in indices]
    tiles = [(i, pixels) for i, pixels in read if pixels is not None]
    if not tiles:
        return
    with evaluation_mode(model):
        frames = torch.from_numpy(np.stack([pixels for _, pixels in tiles]))
        logits, maps = model(to_network(frames, device))
    side = images.side
    rows = -(-len(tiles) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * side, rows * (side + _CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (index, pixels) in enumerate(tiles):
        label = labels[index]
        cell = maps[place, label].float().cpu().numpy()
        x, y = place % _COLUMNS * side, place // _COLUMNS * (side + _CAPTION)
        sheet.paste(Image.fromarray(overlay(pixels, cell)), (x, y + _CAPTION))
        right = int(logits[place].argmax()) == label
        draw.text(
            (x + 2, y + 1), _fitted(draw, classes[label], side - 4), "black" if right else "red"
        )
        figures = f"area {cell.mean():.2f}, max {cell.max():.2f}"
        draw.text((x + 2, y + 13), _fitted(draw, figures, side - 4), "black")
    replace_atomically(output, lambda path: sheet.save(path, format="PNG"))


def overlay(pixels: NDArray[np.uint8], cell_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] with a map [h, w] over it, from blue (its minimum) to red (its maximum).

    A flat map leaves the image as it is.
    """
    lo, hi = float(cell_map.min()), float(cell_map.max())
    if hi <= lo:
        return pixels
    height, width = pixels.shape[:2]
    smooth = Image.fromarray((cell_map - lo) / np.float32(hi - lo)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    value = np.asarray(smooth)[..., None]  # [H, W, 1]
    colour = 255 * np.concatenate([value, 1 - abs(2 * value - 1), 1 - value], axis=2)
    alpha = 0.15 + 0.4 * value
    blended: NDArray[np.uint8] = ((1 - alpha) * pixels + alpha * colour).round().astype(np.uint8)
    return blended


def _fitted(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """As much of a text as fits into `width` pixels."""
    while len(text) > 1 and draw.textlength(text) > width:
        text = text[:-1]
    return text
