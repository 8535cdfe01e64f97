"""The metadata folders of clovaai/wsolevaluation: CUB, ILSVRC and OpenImages30k in one form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.datasets.listing import (
    Format,
    Listed,
    Listing,
    add_once,
    expect,
    is_whole,
    read_rows,
    whole_box,
)
from bas_edge.errors import InputError
from bas_edge.mask_files import MaskFiles

__all__ = ["WSOLEVAL"]

_NAME = "wsolevaluation"
_SPLITS = ("train", "val", "test")
_FILES = ("image_ids.txt", "class_labels.txt", "localization.txt")


def _is_here(root: Path) -> bool:
    folders = [root, *(root / split for split in _SPLITS)]
    return any((folder / name).is_file() for folder in folders for name in _FILES)


def _read(root: Path, split: str, labels_only: bool) -> Listing:
    """`metadata/<set>` with a folder for each split, images in `dataset/<set>` beside metadata."""
    if (root / "image_ids.txt").is_file():
        raise InputError(
            f"{root} is one split of {_NAME}'s metadata.",
            hint=f"Name the folder of the set: {root.parent} --split {root.name}",
        )
    folder = expect(root / split, f"{_NAME}'s metadata of the split {split}")
    listed: dict[str, None] = {}
    for where, (image,) in read_rows(folder / "image_ids.txt", f"{_NAME}'s list of images", 1):
        add_once(listed, image, None, where)
    ids = list(listed)
    numbers = _labels(folder / "class_labels.txt")
    images = _image_root(root, ids)
    boxes: dict[str, NDArray[np.float64]] = {}
    masks: dict[str, MaskFiles] = {}
    sizes: dict[str, tuple[int, int]] = {}
    if not labels_only:
        boxes, masks = _localization(folder / "localization.txt", images)
        if (folder / "image_sizes.txt").is_file():
            sizes = _sizes(folder / "image_sizes.txt")
    for image in ids:
        for name, rows in (("class_labels.txt", numbers), ("localization.txt", boxes or masks)):
            if image not in rows and not (labels_only and name == "localization.txt"):
                raise InputError(
                    f"{folder / name} does not list {image}, but {folder / 'image_ids.txt'} does.",
                    hint="Take the folder from the wsolevaluation repository again.",
                )
    used = {numbers[image] for image in ids}
    count = max(used, default=-1) + 1
    if len(used) < count:  # a class may be without images in this split, but not in all of them
        known = used.union(*(_labels(path).values() for path in root.glob("*/class_labels.txt")))
        if len(known) < max(known) + 1:
            raise InputError(
                f"{folder / 'class_labels.txt'} has labels up to {max(used)}, but only {len(used)} "
                "different ones; they count from 0 without a gap over all splits."
            )
    names = _class_names(ids, numbers)
    items = tuple(
        Listed(images / image, numbers[image], boxes.get(image), masks.get(image), sizes.get(image))
        for image in ids
    )
    classes = tuple(names.get(label, str(label)) for label in range(count))
    return Listing(classes, items, named=bool(names), images=images)


def _labels(path: Path) -> dict[str, int]:
    labels: dict[str, int] = {}
    for where, (image, label) in read_rows(path, f"{_NAME}'s list of labels", (2,), separator=","):
        if not is_whole(label):
            raise InputError(f"{where}: the label '{label}' is not a whole number from 0 up.")
        add_once(labels, image, int(label), where)
    return labels


def _sizes(path: Path) -> dict[str, tuple[int, int]]:
    sizes: dict[str, tuple[int, int]] = {}
    for where, (image, width, height) in read_rows(
        path, f"{_NAME}'s list of sizes", (3,), separator=","
    ):
        if not (is_whole(width) and is_whole(height)):
            raise InputError(f"{where}: '{width},{height}' is not a width and a height.")
        add_once(sizes, image, (int(height), int(width)), where)
    return sizes


def _localization(
    path: Path, images: Path
) -> tuple[dict[str, NDArray[np.float64]], dict[str, MaskFiles]]:
    """Boxes or masks by image; an image has as many lines as boxes or instances."""
    corners: dict[str, list[list[float]]] = {}
    instances: dict[str, list[Path]] = {}
    ignored: dict[str, Path] = {}
    for where, (image, *rest) in read_rows(
        path, f"{_NAME}'s list of boxes or masks", (3, 5), separator=","
    ):
        if len(rest) == 4:
            corners.setdefault(image, []).append(whole_box(rest, where))
            continue
        mask, ignore = rest
        if image in instances and ignore:
            raise InputError(f"{where}: {image} has a second file of ignored pixels, {ignore}.")
        instances.setdefault(image, []).append(images / mask)
        if ignore:
            ignored[image] = images / ignore
    if corners and instances:
        raise InputError(f"{path} has boxes in some lines and masks in others.")
    boxes = {image: np.array(rows, np.float64) for image, rows in corners.items()}
    masks = {
        image: MaskFiles(tuple(files), ignored.get(image)) for image, files in instances.items()
    }
    return boxes, masks


def _image_root(root: Path, ids: list[str]) -> Path:
    """Where the images lie: beside the metadata, or where wsolevaluation's scripts put them."""
    published = root.resolve().parent.parent / "dataset" / root.name
    first = ids[0] if ids else ""
    if first and (root / first).is_file():
        return root
    return expect(
        published,
        f"The folder of {_NAME}'s images of {root.name}",
        hint=f"Put or link them there: {published / first}",
    )


def _class_names(ids: list[str], numbers: Mapping[str, int]) -> dict[int, str]:
    """The folder of each class, where every class has a folder of its own; else nothing.

    Folders that are called by their label, as those of ImageNetV2, name nothing either.
    """
    names: dict[int, str] = {}
    for image in ids:
        parts = Path(image).parts
        folder = parts[-2] if len(parts) > 1 else ""
        if not folder or names.setdefault(numbers[image], folder) != folder:
            return {}
    numbered = all(name == str(label) for label, name in names.items())
    return names if len(set(names.values())) == len(names) and not numbered else {}


WSOLEVAL = Format(
    name=_NAME,
    is_here=_is_here,
    splits=_SPLITS,
    training="train",
    evaluation="test",
    read=_read,
)
