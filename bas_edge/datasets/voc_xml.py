"""Boxes in the XML form of PASCAL VOC, as ImageNet's sets have them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from bas_edge.datasets.listing import is_whole, whole_box
from bas_edge.errors import InputError

__all__ = ["VocFile", "read_voc"]


@dataclass(frozen=True, slots=True)
class VocFile:
    """One annotated image.

    Attributes:
        names: Of the objects, in the order of the file.
        boxes: [B, 4] float64 xyxy, one for each name.
        size: (H, W); None where the file leaves it open.
    """

    names: tuple[str, ...]
    boxes: NDArray[np.float64]
    size: tuple[int, int] | None


def read_voc(path: Path) -> VocFile:
    """Read one file; its objects may be none.

    Raises:
        InputError: It is not well-formed, or an object has no name or box.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is not an annotation in XML: {error}.", hint="Unpack the set again."
        ) from error
    names, boxes = [], []
    for one in root.iter("object"):
        name = (one.findtext("name") or "").strip()
        corners = [
            one.findtext(f"bndbox/{edge}") or "" for edge in ("xmin", "ymin", "xmax", "ymax")
        ]
        if not name:
            raise InputError(f"{path} has an object without a name.")
        names.append(name)
        boxes.append(whole_box(corners, str(path)))
    width, height = (root.findtext(f"size/{side}") or "" for side in ("width", "height"))
    size = (int(height), int(width)) if is_whole(width) and is_whole(height) else None
    return VocFile(
        tuple(names),
        np.array(boxes, np.float64).reshape(-1, 4),
        size if size is not None and 0 not in size else None,
    )
