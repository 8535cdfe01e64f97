"""Masks as PNG files whose pixels are class numbers: 0 background, 1 to C, 255 not counted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bas_edge.errors import InputError

__all__ = [
    "IGNORE",
    "PngMask",
    "check_class_count",
    "check_mask",
    "palette",
    "read_mask",
    "unique_names",
    "write_mask",
]

IGNORE = 255
MAX_CLASSES = IGNORE - 1  # 0 is background: more have no number of their own in eight bits

_MODES = ("P", "L")
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)  # where it is an error


@dataclass(frozen=True, slots=True)
class PngMask:
    """See `image_set.MaskSource`."""

    path: Path
    classes: int

    def read(self) -> NDArray[np.uint8]:
        """[H, W] uint8; see `read_mask`."""
        return read_mask(self.path, self.classes)


def check_class_count(count: int, owner: object) -> None:
    """Refuse more classes than a mask of uint8 can tell apart; `owner` has them.

    Raises:
        InputError: Above 254.
    """
    if count > MAX_CLASSES:
        raise InputError(
            f"{owner} has {count} classes, and masks hold at most {MAX_CLASSES}.",
            hint="Take fewer classes: in a mask 0 is background and 255 is not counted.",
        )


def read_mask(path: str | os.PathLike[str], classes: int) -> NDArray[np.uint8]:
    """The class numbers of a palette or grey 8-bit image: [H, W] uint8.

    Args:
        path: Such as a file of VOC's `SegmentationClass`.
        classes: C; values must be 0 to C, or 255.

    Raises:
        InputError: Missing, damaged, of another mode, or with a value that is no class.
    """
    try:
        with Image.open(path) as image:
            mode = image.mode
            values = np.array(image) if mode in _MODES else None
    except FileNotFoundError:
        raise InputError(f"No such mask: {path}.", hint="Check the path.") from None
    except (UnidentifiedImageError, OSError, SyntaxError, *_TOO_LARGE) as error:  # all Pillow's
        raise InputError(f"The mask {path} cannot be decoded: {error}.") from None
    if values is None:
        raise InputError(
            f"The mask {path} has colours (mode {mode}), not class numbers.",
            hint="Save it as a palette or grey PNG whose values are class numbers.",
        )
    check_mask(values, classes, str(path))
    return values


def check_mask(mask: NDArray[np.uint8], classes: int, name: str) -> None:
    """Refuse a mask with a value that is neither 0 to `classes` nor 255; `name` is what it is."""
    count = np.bincount(mask.reshape(-1), minlength=256)
    unknown = [value for value in np.flatnonzero(count).tolist() if classes < value != IGNORE]
    if unknown:
        raise InputError(
            f"The mask {name} has the value {unknown[0]} in {count[unknown[0]]} pixels, but the "
            f"classes are 1 to {classes}.",
            hint="0 is background and 255 is not counted; nothing else is known.",
        )


def write_mask(path: str | os.PathLike[str], mask: NDArray[np.uint8]) -> None:
    """Write [H, W] uint8 class numbers as a palette PNG in the colours of VOC.

    Raises:
        InputError: The file cannot be written.
    """
    image = Image.fromarray(mask)
    image.putpalette(palette().tobytes())
    try:
        image.save(path, format="PNG")
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror or error}.") from error


def unique_names(files: Sequence[Path]) -> list[str]:
    """A file name for the mask of each image, without ending: its own, or with "_2", "_3", …"""
    taken: set[str] = set()
    names = []
    for file in files:
        name, count = file.stem, 1
        while name in taken:
            count += 1
            name = f"{file.stem}_{count}"
        taken.add(name)
        names.append(name)
    return names


def palette() -> NDArray[np.uint8]:
    """[256, 3] RGB of each class number, as VOC's masks have them: bits of it from the top down.

    Bits 0, 1, 2 of a number are the highest bits of red, green, blue, bits 3, 4, 5 the next.
    """
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for place in range(8):
        bits = numbers[:, None] >> (3 * place + np.arange(3)) & 1  # [256, 3]
        colours |= (bits << (7 - place)).astype(np.uint8)
    return colours
