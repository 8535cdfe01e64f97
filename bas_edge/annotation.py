"""Labelled images, as every reader of them returns them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.mask_files import MaskFiles

__all__ = ["Annotation", "Annotations", "single_images"]


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """One labelled image.

    Attributes:
        path: The image file; it existed when the annotations were read.
        label: Index into `Annotations.classes`.
        class_name: The name of `label`.
        boxes: [B, 4] float64 xyxy in pixels of the upright image, half-open; None if unknown.
        size: (H, W) if the annotations state it.
        mask: Its foreground mask; None if unknown.
        clipped: Boxes may reach past the image and end with it, as in some published sets.
            Otherwise such a box means that the image is another one.
    """

    path: Path
    label: int
    class_name: str
    boxes: NDArray[np.float64] | None = None
    size: tuple[int, int] | None = None
    mask: MaskFiles | None = None
    clipped: bool = False

    def contradiction(self, shape: tuple[int, int]) -> str | None:
        """Why the image of this size (H, W) is not the annotated one, or None."""
        height, width = shape
        if self.size is not None and self.size != shape:
            return (
                f"{self.path} is {width} × {height}, "
                f"but its annotation says {self.size[1]} × {self.size[0]}."
            )
        if self.boxes is None:
            return None
        if not self.clipped and (self.boxes[:, 2:] > (width, height)).any():
            corner = self.boxes[:, 2:].max(axis=0)
        elif (self.boxes[:, :2] >= (width, height)).any():
            corner = self.boxes[:, :2].max(axis=0)
        else:
            return None
        return (
            f"{self.path} is {width} × {height}, but a box reaches to ({corner[0]}, {corner[1]})."
        )

    def boxes_in(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Its boxes [B, 4], clipped to its image of size (H, W); [0, 4] where it has none."""
        if self.boxes is None:
            return np.zeros((0, 4))
        return np.clip(self.boxes, 0, (shape[1], shape[0]) * 2)


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """A set of labelled images.

    Attributes:
        items: In the order of the file, or of sorted paths for folders.
        classes: Class names; a label is an index into them.
        background: Images with no object of any class.
        has_boxes: Every item has at least one box. Otherwise none has.
        has_masks: As `has_boxes`, for masks.
        warnings: Sentences about data that can be used, but likely not as meant.
        notes: Sentences about what of a published set was left out.
        name: What the set is called, without its split.
        split: Which part of it this is; empty where it has no parts.
        root: The folder that paths are told from.
    """

    items: tuple[Annotation, ...]
    classes: tuple[str, ...]
    background: tuple[Path, ...] = ()
    has_boxes: bool = False
    has_masks: bool = False
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    name: str = ""
    split: str = ""
    root: Path = Path()


def single_images(items: Iterable[Annotation]) -> tuple[str, ...]:
    """A warning for each class of a single image."""
    counts = Counter(item.class_name for item in items)
    return tuple(
        f"Class '{name}' has only one image; it cannot be learnt from one."
        for name, count in counts.items()
        if count == 1
    )
