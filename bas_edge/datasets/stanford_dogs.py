"""Stanford Dogs: images.tar, annotation.tar and lists.tar in one folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bas_edge.datasets.listing import Format, Listed, Listing, expect
from bas_edge.datasets.matlab import load_mat
from bas_edge.datasets.voc_xml import read_voc
from bas_edge.errors import InputError

__all__ = ["STANFORD_DOGS"]

_NAME = "Stanford Dogs"
_LISTS = {"train": "train_list.mat", "test": "test_list.mat"}


def _is_here(root: Path) -> bool:
    return any((root / name).is_file() for name in _LISTS.values()) or (
        (root / "Images").is_dir() and (root / "Annotation").is_dir()
    )


def _read(root: Path, split: str, labels_only: bool) -> Listing:
    """`Images/<class>/*.jpg`, `Annotation/<class>/*` (XML without an ending), the lists beside."""
    names, numbers = load_mat(
        root / _LISTS[split], f"{_NAME}'s list of {split} images", "file_list", "labels"
    )
    images = [str(name) for name in np.atleast_1d(names)]
    labels = [int(number) - 1 for number in np.atleast_1d(numbers)]
    folder = expect(root / "Images", f"{_NAME}'s folder of images")
    classes: dict[int, str] = {}
    items = []
    for image, label in zip(images, labels, strict=True):
        name = Path(image).parts[0]
        if classes.setdefault(label, name) != name:
            raise InputError(
                f"{root / _LISTS[split]} gives {image} the label {label + 1} of {classes[label]}."
            )
        item = Listed(folder / image, label)
        if not labels_only:
            file = (root / "Annotation" / image).with_suffix("")
            found = read_voc(expect(file, f"{_NAME}'s annotation of {image}"))
            if not len(found.boxes):
                raise InputError(f"{file} has no object.")
            item = Listed(folder / image, label, boxes=found.boxes, size=found.size)
        items.append(item)
    if sorted(classes) != list(range(len(classes))):
        raise InputError(
            f"{root / _LISTS[split]} has labels with a gap: {sorted(classes)[-1] + 1}."
        )
    return Listing(tuple(classes[label] for label in sorted(classes)), tuple(items))


STANFORD_DOGS = Format(
    name=_NAME,
    is_here=_is_here,
    splits=("train", "test"),
    training="train",
    evaluation="test",
    read=_read,
)
