"""Images with the classes that are in them, and the mask of each where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.images import orientation_of, turned_upright
from bas_edge.segmentation.masks import check_class_count

__all__ = ["ImageSet", "MaskSource", "SetImage", "StoredMask"]


class MaskSource(Protocol):
    """Where the mask of one image comes from."""

    def read(self) -> NDArray[np.uint8]:
        """[H, W] at the image's size: 0 is background, 1 to C are classes, 255 is ignored.

        Raises:
            InputError: It cannot be read, or holds a value that is no class.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredMask:
    """A mask of an image's stored pixels, which EXIF may turn; as published sets have them.

    Attributes:
        mask: It.
        image: The image file.
    """

    mask: MaskSource
    image: Path

    def read(self) -> NDArray[np.uint8]:
        """[H, W] uint8, upright as images are read; see `MaskSource`."""
        return turned_upright(self.mask.read(), orientation_of(self.image))


@dataclass(frozen=True, slots=True, eq=False)
class SetImage:
    """One image of a set.

    Attributes:
        path: The image file; it existed when the set was read.
        labels: The classes in it, as ascending indices into `ImageSet.classes`; none twice.
        mask: Of its pixels, where class c of `labels` has the value c + 1; None if unknown.
    """

    path: Path
    labels: tuple[int, ...]
    mask: MaskSource | None = None

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Images of one split of a data set.

    Attributes:
        source: The folder that it was read from.
        split: Which part of it.
        classes: C names, without the background.
        images: In the order of the data set's own list.
        masks_expected: Where masks were looked for, in words.
    """

    source: Path
    split: str
    classes: tuple[str, ...]
    images: tuple[SetImage, ...]
    masks_expected: str

    def __post_init__(self) -> None:
        """Refuse more classes than masks can hold."""
        check_class_count(len(self.classes), self.source)

    @property
    def has_masks(self) -> bool:
        """Whether every image has one."""
        return all(image.mask is not None for image in self.images)

    def require_masks(self) -> None:
        """Raise InputError, with the place where masks were expected, if an image has none."""
        without = [image for image in self.images if image.mask is None]
        if not without:
            return
        split = f"split '{self.split}' of {self.source}"
        if len(without) == len(self.images):
            message = f"The {split} has no masks."
        else:
            message = (
                f"{len(without)} of the {len(self.images)} images of the {split} have no mask; "
                f"the first is {without[0].path}."
            )
        raise InputError(message, hint=f"They were expected {self.masks_expected}.")

    def require_classes(self, owner: object, classes: tuple[str, ...]) -> None:
        """Raise InputError unless these are the classes that `owner` has."""
        if classes != self.classes:
            raise InputError(
                f"{owner} knows {len(classes)} classes, from '{classes[0]}' to '{classes[-1]}'; "
                f"{self.source} has {len(self.classes)}, from '{self.classes[0]}' to "
                f"'{self.classes[-1]}'.",
                hint="Use a data set with the classes that it was trained on.",
            )
