"""Labelled images, as every reader of them returns them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.images import orientation_of
from bas_edge.mask_files import MaskFiles

__all__ = ["Annotation", "Annotations", "single_images"]

_TOLD_APART = 5  # warnings of one kind before they become one

_TURNS = {  # EXIF orientation → x and y change places; then x and y are mirrored
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """One labelled image.

    Attributes:
        path: The image file; it existed when the annotations were read.
        label: Index into `Annotations.classes`.
        class_name: The name of `label`.
        boxes: [B, 4] float64 xyxy in pixels of the image, half-open; None if unknown.
        size: (H, W) if the annotations state it.
        mask: Its foreground mask; None if unknown.
        published: As published sets have it: boxes may reach past the image, by less than half,
            and end with it; boxes, size and mask are of the pixels as they are stored, whatever
            EXIF says of them. Otherwise they are of the upright image, which holds every box.
    """

    path: Path
    label: int
    class_name: str
    boxes: NDArray[np.float64] | None = None
    size: tuple[int, int] | None = None
    mask: MaskFiles | None = None
    published: bool = False

    def orientation(self, shape: tuple[int, int]) -> int:
        """The EXIF orientation, 1 to 8, that boxes and mask have yet to be turned by for the
        upright image of size (H, W); 1 for none.
        """
        if not self.published or (found := orientation_of(self.path)) == 1:
            return 1
        stored = shape[::-1] if _TURNS[found][0] else shape
        return 1 if self.size == shape != stored else found  # drawn on the upright image after all

    def contradiction(self, shape: tuple[int, int]) -> str | None:
        """Why the upright image of this size (H, W) is not the annotated one, or None."""
        turned = _TURNS[self.orientation(shape)][0]
        height, width = shape[::-1] if turned else shape
        if self.size is not None and self.size != (height, width):
            return (
                f"{self.path} is {width} × {height}, "
                f"but its annotation says {self.size[1]} × {self.size[0]}."
            )
        if self.boxes is None:
            return None
        if not self.published and (self.boxes[:, 2:] > (width, height)).any():
            corner = self.boxes[:, 2:].max(axis=0)
        elif self.published and (outside := _mostly_outside(self.boxes, (width, height))).any():
            corner = self.boxes[outside, 2:].max(axis=0)
        else:
            return None
        return (
            f"{self.path} is {width} × {height}, but a box reaches to ({corner[0]}, {corner[1]})."
        )

    def boxes_in(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Its boxes [B, 4] in pixels of the upright image of size (H, W), clipped to it; [0, 4]
        where it has none.
        """
        if self.boxes is None:
            return np.zeros((0, 4))
        swapped, *mirrored = _TURNS[self.orientation(shape)]
        corners = self.boxes.reshape(-1, 2, 2)  # [B, corner, xy]
        corners = corners[:, :, ::-1] if swapped else corners
        size = np.array(shape[::-1], np.float64)
        corners = np.where(mirrored, size - corners, corners)
        ends = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        clipped: NDArray[np.float64] = np.clip(ends, 0, np.tile(size, 2))
        return clipped


def _mostly_outside(boxes: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """[B]: which boxes have less than half of their area within an image of size (W, H)."""
    within = np.clip(boxes, 0, size * 2)
    area, seen = ((one[:, 2:] - one[:, :2]).prod(axis=1) for one in (boxes, within))
    outside: NDArray[np.bool_] = seen < area / 2
    return outside


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
    """A warning for classes of a single image: for each, or one where there are many."""
    counts = Counter(item.class_name for item in items)
    single = [name for name, count in counts.items() if count == 1]
    if len(single) > _TOLD_APART:
        some = "', '".join(single[:_TOLD_APART])
        return (
            f"{len(single)} classes have only one image each and cannot be learnt from it: "
            f"'{some}' and {len(single) - _TOLD_APART} more.",
        )
    return tuple(
        f"Class '{name}' has only one image; it cannot be learnt from one." for name in single
    )
