"""Pictures of the images whose boxes moved most, or whose masks changed most."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as Tree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bas_edge.errors import InputError
from bas_edge.images import read_image
from bas_edge.overlay import heat_over
from bas_edge.quantization.report import ImageComparison, MaskComparison
from bas_edge.quantization.report_charts import svg_root, svg_text
from bas_edge.quantization.report_words import iou_text
from bas_edge.results import Box, Timing
from bas_edge.segmentation.result import Segmentation

__all__ = ["Picture", "draw_masks", "draw_picture"]

_SIDE = 320  # longest side of a thumbnail
_HEAT_SIDE = 224
_QUALITY = 78


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of the report, ready for the page.

    Attributes:
        path, iou: As in the report; `iou` as text.
        label_reference, label: Class names.
        panels: (caption, SVG) of the image with both boxes and of each map over it; empty
            where the image cannot be read.
        missing: Why there are no panels, in a sentence; empty where there are.
    """

    path: str
    iou: str
    label_reference: str
    label: str
    panels: tuple[tuple[str, str], ...] = ()
    missing: str = ""


def draw_picture(one: ImageComparison, *, engine: str) -> Picture:
    """Read the image from disk and draw it; `engine` names the engine's side ("int8").

    Of a video the report itself holds the frame, as the network saw it.
    """
    try:
        frame = Image.fromarray(read_image(one.seen or one.path))
    except InputError as error:
        return Picture(one.path, iou_text(one.iou), one.label_reference, one.label, (), str(error))
    size = (one.seen_size[1], one.seen_size[0]) if one.seen else frame.size
    image = _fitted(frame, _SIDE)
    small = _fitted(frame, _HEAT_SIDE)
    before, after = ("reference", one.box_reference), ("engine", one.box)
    name = one.path.replace("\\", "/").rpartition("/")[2]
    moved = f"the boxes of float32 and {engine}, IoU {iou_text(one.iou)}"
    panels = (
        ("Both boxes", _panel(image, size, (after, before), f"{name} with {moved}")),
        ("Float32", _heat_panel(small, size, one, before, f"{name}: map and box of float32")),
        (engine, _heat_panel(small, size, one, after, f"{name}: map and box of {engine}")),
    )
    return Picture(one.path, iou_text(one.iou), one.label_reference, one.label, panels)


def draw_masks(one: MaskComparison, *, engine: str) -> Picture:
    """The same of a segmenter's masks; one panel shows the pixels where they differ, in white."""
    before, after = (
        ", ".join(names) or "background" for names in (one.classes_reference, one.classes)
    )
    try:
        frame = Image.fromarray(read_image(one.seen or one.path))
    except InputError as error:
        return Picture(one.path, iou_text(one.iou), before, after, (), str(error))
    image = _fitted(frame, _SIDE)
    masks = [_on(image, content) for content in (one.mask_reference, one.mask)]
    name = one.path.replace("\\", "/").rpartition("/")[2]
    changed = masks[0] != masks[1]  # [H, W]
    dim = image // 3
    dim[changed] = 255
    panels = (
        ("Where they differ", f"{name} with the pixels that changed, IoU {iou_text(one.iou)}", dim),
        ("Float32", f"{name}: mask of float32", _coloured(image, masks[0])),
        (engine, f"{name}: mask of {engine}", _coloured(image, masks[1])),
    )
    size = (image.shape[1], image.shape[0])
    drawn = tuple((caption, _panel(pixels, size, (), label)) for caption, label, pixels in panels)
    return Picture(one.path, iou_text(one.iou), before, after, drawn)


def _on(image: NDArray[np.uint8], content: bytes) -> NDArray[np.uint8]:
    """A mask's PNG at the size of an image [H, W, 3]: [H, W]."""
    mask = Image.open(io.BytesIO(content))
    return np.asarray(mask.resize((image.shape[1], image.shape[0]), Image.Resampling.NEAREST))


def _coloured(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` [H, W, 3] with the classes of `mask` [H, W] over it."""
    return Segmentation(mask, (), Timing(0.0, 0.0, 0.0)).draw(image, legend=False)


def _heat_panel(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    one: ImageComparison,
    box: tuple[str, Box],
    label: str,
) -> str:
    content = one.heat_reference if box[0] == "reference" else one.heat
    heat = np.frombuffer(content, np.uint8).reshape(one.heat_size)
    return _panel(heat_over(image, heat), size, (box,), label)


def _panel(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    boxes: Sequence[tuple[str, Box]],
    label: str,
) -> str:
    """An SVG of the image and boxes given in pixels of a frame of `size` (W, H)."""
    height, width = image.shape[:2]
    root = svg_root(width, height, label=label, kind="picture")
    sides = {"width": str(width), "height": str(height)}
    Tree.SubElement(root, "image", {"href": _data_uri(image), **sides})
    scale_x, scale_y = width / size[0], height / size[1]
    for kind, (x0, y0, x1, y1) in boxes:
        corners = {
            "x": f"{x0 * scale_x:.1f}",
            "y": f"{y0 * scale_y:.1f}",
            "width": f"{max(0.0, x1 - x0) * scale_x:.1f}",
            "height": f"{max(0.0, y1 - y0) * scale_y:.1f}",
        }
        for layer in ("halo", kind):  # a dark line below keeps the box visible on any image
            Tree.SubElement(root, "rect", {**corners, "class": f"box {layer}"})
    return svg_text(root)


def _fitted(frame: Image.Image, side: int) -> NDArray[np.uint8]:
    """The frame with its longest side `side` at most: [H, W, 3]."""
    scale = min(1.0, side / max(frame.size))
    size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
    return np.asarray(frame.resize(size, Image.Resampling.BOX if scale < 0.5 else None))


def _data_uri(image: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
