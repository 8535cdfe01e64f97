"""CUB-200-2011 as Caltech distributes it: CUB_200_2011.tgz, and segmentations.tgz beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.datasets.listing import Format, Listed, Listing, add_once, expect, read_rows
from bas_edge.errors import InputError
from bas_edge.mask_files import MaskFiles

__all__ = ["CUB"]

_NAME = "CUB-200-2011"
_FILES = {
    "images.txt": "list of images",
    "image_class_labels.txt": "list of labels",
    "train_test_split.txt": "list of splits",
    "classes.txt": "list of classes",
    "bounding_boxes.txt": "list of boxes",
}
_TRAINED = {"train": "1", "test": "0"}


def _rows(root: Path, name: str) -> dict[str, str]:
    """Id → rest of the line, of one of the set's lists."""
    rows: dict[str, str] = {}
    for where, (key, rest) in read_rows(root / name, f"{_NAME}'s {_FILES[name]}", 2):
        add_once(rows, key, rest, where)
    return rows


def _read(root: Path, split: str, labels_only: bool) -> Listing:
    names = _rows(root, "classes.txt")
    labels = {key: index for index, key in enumerate(names)}
    images = _rows(root, "images.txt")
    classes = _rows(root, "image_class_labels.txt")
    splits = _rows(root, "train_test_split.txt")
    boxes = {} if labels_only else _rows(root, "bounding_boxes.txt")
    masks = root / "segmentations"
    with_masks = not labels_only and masks.is_dir()
    items = []
    for key, image in images.items():
        _check_listed(
            root, key, {"image_class_labels.txt": classes, "train_test_split.txt": splits}
        )
        if splits[key] not in _TRAINED.values():
            raise InputError(
                f"{root / 'train_test_split.txt'} gives image {key} the value {splits[key]}, "
                "which is neither 1 for training nor 0 for testing."
            )
        if splits[key] != _TRAINED[split]:
            continue
        if classes[key] not in labels:
            raise InputError(
                f"{root / 'image_class_labels.txt'} gives image {key} the class {classes[key]}, "
                f"which {root / 'classes.txt'} does not list."
            )
        mask = None
        if with_masks:
            file = (masks / image).with_suffix(".png")
            expect(file, f"{_NAME}'s mask of {image}", hint=f"Unpack all of it, or remove {masks}.")
            mask = MaskFiles((file,), votes=True)
        items.append(
            Listed(
                expect(root / "images", f"{_NAME}'s folder of images") / image,
                labels[classes[key]],
                boxes=None if labels_only else _box(root, key, boxes),
                mask=mask,
            )
        )
    return Listing(tuple(names.values()), tuple(items))


def _check_listed(root: Path, key: str, lists: dict[str, dict[str, str]]) -> None:
    for name, rows in lists.items():
        if key not in rows:
            raise InputError(
                f"{root / name} does not list image {key}, but {root / 'images.txt'} does.",
                hint="Unpack CUB_200_2011.tgz again.",
            )


def _box(root: Path, key: str, boxes: dict[str, str]) -> NDArray[np.float64]:
    _check_listed(root, key, {"bounding_boxes.txt": boxes})
    try:
        x, y, width, height = (float(text) for text in boxes[key].split())
    except ValueError:
        x = y = width = height = 0.0
    if width <= 0 or height <= 0:
        raise InputError(
            f"{root / 'bounding_boxes.txt'}: '{boxes[key]}' of image {key} is no box.",
            hint="The file has x, y, width and height.",
        )
    return np.array([[x, y, x + width, y + height]], np.float64)


CUB = Format(
    name=_NAME,
    is_here=lambda root: sum((root / name).is_file() for name in _FILES) > 1,  # one is no sign
    splits=("train", "test"),
    training="train",
    evaluation="test",
    read=_read,
)
