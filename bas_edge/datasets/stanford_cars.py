"""Stanford Cars: cars_train, cars_test and devkit in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bas_edge.datasets.listing import Format, Listed, Listing, expect, whole_box
from bas_edge.datasets.matlab import load_mat
from bas_edge.errors import InputError

__all__ = ["STANFORD_CARS"]

_NAME = "Stanford Cars"
_EDGES = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
_LISTS = {
    "train": "devkit/cars_train_annos.mat",
    "test": "cars_test_annos_withlabels.mat",  # not in the devkit, whose test has no labels
}


def _is_here(root: Path) -> bool:
    return any((root / name).is_dir() for name in ("cars_train", "cars_test"))


def _read(root: Path, split: str, labels_only: bool) -> Listing:
    """`cars_<split>/*.jpg`, listed with class and box in a MATLAB file."""
    list_file = root / _LISTS[split]
    if split == "test" and not list_file.is_file() and (root / "devkit" / list_file.name).is_file():
        list_file = root / "devkit" / list_file.name
    (names,) = load_mat(root / "devkit/cars_meta.mat", f"{_NAME}'s list of classes", "class_names")
    (rows,) = load_mat(list_file, f"{_NAME}'s list of {split} images", "annotations")
    folder = expect(root / f"cars_{split}", f"{_NAME}'s folder of {split} images")
    classes = tuple(str(name) for name in np.atleast_1d(names))
    rows = np.atleast_1d(rows)
    fields = rows.dtype.names or ()
    absent = [field for field in ("fname", "class", *_EDGES) if field not in fields]
    if absent:
        raise InputError(
            f"{list_file} has no '{absent[0]}' of its images.",
            hint=f"The list with labels is expected at {root / _LISTS[split]}",
        )
    return Listing(classes, tuple(_item(row, folder, classes, labels_only) for row in rows))


def _item(row: Any, folder: Path, classes: tuple[str, ...], labels_only: bool) -> Listed:
    image, number = str(row["fname"]), int(row["class"])
    if not 1 <= number <= len(classes):
        raise InputError(f"{_NAME}: {image} has class {number}, but there are {len(classes)}.")
    if labels_only:
        return Listed(folder / image, number - 1)
    x0, y0, x1, y1 = (float(row[edge]) for edge in _EDGES)
    box = whole_box((x0 - 1, y0 - 1, x1, y1), image)  # MATLAB counts from 1, last pixel included
    return Listed(folder / image, number - 1, boxes=np.array([box], np.float64))


STANFORD_CARS = Format(
    name=_NAME,
    is_here=_is_here,
    splits=("train", "test"),
    training="train",
    evaluation="test",
    read=_read,
)
