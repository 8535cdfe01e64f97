"""ILSVRC 2012 CLS-LOC: the distributed folders with XML boxes, or BAS's lists beside images."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    shown,
    whole_box,
)
from bas_edge.datasets.voc_xml import VocFile, read_voc
from bas_edge.errors import InputError
from bas_edge.mask_files import MaskFiles

__all__ = ["ILSVRC", "ILSVRC_LISTS"]

_NAME = "ILSVRC CLS-LOC"
_DATA, _XML = Path("Data", "CLS-LOC"), Path("Annotations", "CLS-LOC")
_LISTS = ("val_list.txt", "val_gt.txt")
_Boxed = tuple[NDArray[np.float64], MaskFiles | None, tuple[int, int]]


def _read(root: Path, split: str, labels_only: bool) -> Listing:
    """Data/CLS-LOC/{train,val} and Annotations/CLS-LOC/{train,val}."""
    if split == "train":
        return _read_train(root, labels_only)
    folder = expect(root / _DATA / split, f"{_NAME}'s folder of {split} images")
    annotations = expect(root / _XML / split, f"{_NAME}'s folder of {split} annotations")
    inner = [folder / name for name in _class_folders(folder)]  # many sort these images by class
    images = [file for one in (folder, *inner) for file in _images(one)]
    files = {file: _annotated(annotations / f"{file.stem}.xml") for file in images}
    if not files:
        raise InputError(
            f"{folder} has no .JPEG files.", hint="Unpack ILSVRC2012_img_val.tar there."
        )
    classes = _class_folders(root / _DATA / "train") or tuple(
        sorted({found.names[0] for found in files.values()})
    )
    labels = {name: label for label, name in enumerate(classes)}
    items = []
    for file, found in files.items():
        if found.names[0] not in labels:
            raise InputError(
                f"{annotations / file.stem}.xml has an object {found.names[0]}, which is no folder "
                f"of {root / _DATA / 'train'}."
            )
        items.append(_item(file, labels[found.names[0]], found, labels_only))
    return Listing(classes, tuple(items))


def _read_train(root: Path, labels_only: bool) -> Listing:
    folder = expect(root / _DATA / "train", f"{_NAME}'s folder of training images")
    classes = _class_folders(folder)
    if not classes:
        raise InputError(
            f"{folder} has no class folders.", hint=f"It holds a folder a class: {folder}/n01440764"
        )
    annotations = root / _XML / "train"
    items, without = [], 0
    for label, name in enumerate(classes):
        for file in _images(folder / name):
            if labels_only:
                items.append(Listed(file, label))
                continue
            annotation = annotations / name / f"{file.stem}.xml"
            if annotation.is_file():
                items.append(_item(file, label, _annotated(annotation), labels_only))
            else:
                without += 1
    notes = (f"{without} training images have no boxes and are left out.",) if without else ()
    return Listing(classes, tuple(items), notes=notes)


def _annotated(path: Path) -> VocFile:
    found = read_voc(expect(path, f"{_NAME}'s annotation"))
    if len(set(found.names)) != 1:
        named = ", ".join(sorted(set(found.names))) or "no object"
        raise InputError(f"{path} has {named}, but an image of {_NAME} has objects of one class.")
    return found


def _item(file: Path, label: int, found: VocFile, labels_only: bool) -> Listed:
    if labels_only:
        return Listed(file, label)
    return Listed(file, label, boxes=found.boxes, size=found.size)


def _read_lists(root: Path, split: str, labels_only: bool) -> Listing:
    """{train,val}/<class>/*.JPEG, val_list.txt (path;label), val_gt.txt (path w h ; boxes)."""
    if split == "train":
        folder = expect(root / "train", f"{_NAME}'s folder of training images")
        classes = _class_folders(folder)
        images = [
            Listed(file, label)
            for label, name in enumerate(classes)
            for file in _images(folder / name)
        ]
        return Listing(classes, tuple(images))
    listed: dict[str, int] = {}
    names: dict[int, str] = {}
    rows = read_rows(root / _LISTS[0], f"{_NAME}'s list of labels", 2, separator=";")
    for where, (text, number) in rows:
        image = _posix(text)
        name = image.partition("/")[0]
        if not is_whole(number) or names.setdefault(int(number), name) != name:
            raise InputError(f"{where}: the label '{number}' is not that of {name}.")
        add_once(listed, image, int(number), where)
    numbers = sorted(names)
    boxes = {} if labels_only else _listed_boxes(root / _LISTS[1])
    items = []
    labels = {number: label for label, number in enumerate(numbers)}
    for image, own in listed.items():
        label = labels[own]
        if labels_only:
            items.append(Listed(root / "val" / image, label))
        elif image not in boxes:
            raise InputError(f"{root / _LISTS[1]} has no boxes of {image}.")
        else:
            items.append(Listed(root / "val" / image, label, *boxes[image]))
    return Listing(tuple(names[number] for number in numbers), tuple(items))


def _listed_boxes(path: Path) -> dict[str, _Boxed]:
    """`path width height ; x0 y0 x1 y1 x0 y0 …` of each line, by path."""
    found: dict[str, _Boxed] = {}
    for where, (image, corners) in read_rows(path, f"{_NAME}'s list of boxes", 2, separator=";"):
        words, edges = image.split(), corners.split()
        if len(words) != 3 or not is_whole(words[1]) or not is_whole(words[2]):
            raise InputError(f"{where}: '{image}' is not a path, a width and a height.")
        if not edges or len(edges) % 4:
            raise InputError(f"{where}: {len(edges)} numbers are no boxes of four each.")
        boxes = [whole_box(edges[at : at + 4], where) for at in range(0, len(edges), 4)]
        size = (int(words[2]), int(words[1]))
        add_once(found, _posix(words[0]), (np.array(boxes, np.float64), None, size), where)
    return found


def _posix(path: str) -> str:
    """A path that may have been written on Windows, its separators doubled."""
    return "/".join(part for part in path.replace("\\", "/").split("/") if part)


def _class_folders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(one.name for one in os.scandir(folder) if one.is_dir() and shown(one.name)))


def _images(folder: Path) -> Iterator[Path]:
    names = (one.name for one in os.scandir(folder) if one.name.upper().endswith(".JPEG"))
    return (folder / name for name in sorted(filter(shown, names)))


ILSVRC = Format(
    name=_NAME,
    is_here=lambda root: (root / _DATA).is_dir() or (root / _XML).is_dir(),
    splits=("train", "val"),
    training="train",
    evaluation="val",
    read=_read,
)
ILSVRC_LISTS = Format(
    name=_NAME,
    is_here=lambda root: any((root / name).is_file() for name in _LISTS),
    splits=("train", "val"),
    training="train",
    evaluation="val",
    read=_read_lists,
)
