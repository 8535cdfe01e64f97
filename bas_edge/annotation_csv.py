"""Labelled images from a CSV file."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bas_edge.annotation import Annotation, Annotations, single_images
from bas_edge.csv_rows import read_csv_rows
from bas_edge.errors import InputError
from bas_edge.images import missing_files

__all__ = ["read_csv"]

_REQUIRED = ("path", "label", "class_name")
_BOX = ("x0", "y0", "x1", "y1")
_SIZE = ("width", "height")


@dataclass(slots=True)
class _Image:
    """The rows of one path, while they are collected."""

    line: int
    label: int
    class_name: str
    size: tuple[int, int] | None
    boxes: list[tuple[float, ...]] = field(default_factory=list)


def read_csv(path: Path, classes: Sequence[str] | None) -> Annotations:
    """Read one CSV; see `bas_edge.annotations.read_annotations`."""
    images: dict[str, _Image] = {}
    for line, cells in read_csv_rows(path, _check_columns):
        _add_row(images, cells, f"{path}, line {line}", line)
    names = _class_names(path, images.values(), classes)
    boxed = _all_or_no_boxes(path, images)
    items = tuple(
        Annotation(
            path=path.parent / relative,
            label=image.label,
            class_name=image.class_name,
            boxes=np.array(image.boxes, np.float64) if image.boxes else None,
            size=image.size,
        )
        for relative, image in images.items()
    )
    _check_files(path, items)
    return Annotations(items, names, has_boxes=boxed, warnings=single_images(items))


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    known = (*_REQUIRED, *_BOX, *_SIZE)
    for column in columns:
        if len(columns) == 1 and any(separator in column for separator in ";\t"):
            raise InputError(
                f"{path} has one column, '{column}'.", hint="Separate the columns by commas."
            )
        if column not in known:
            close = difflib.get_close_matches(column, known, n=1)
            raise InputError(
                f"{path} has an unknown column '{column}'.",
                hint=f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}",
            )
    duplicates = [column for column, count in Counter(columns).items() if count > 1]
    if duplicates:
        raise InputError(f"{path} has the column '{duplicates[0]}' twice.", hint="Remove one.")
    for group, optional in ((_REQUIRED, False), (_BOX, True), (_SIZE, True)):
        missing = [column for column in group if column not in columns]
        if missing and not (optional and len(missing) == len(group)):
            raise InputError(
                f"{path} has no column '{missing[0]}'.",
                hint="The header is path,label,class_name[,x0,y0,x1,y1][,width,height]",
            )


def _add_row(images: dict[str, _Image], cells: Mapping[str, str], where: str, line: int) -> None:
    if not cells["path"] or not cells["class_name"]:
        raise InputError(f"{where}: 'path' and 'class_name' must not be empty.")
    label = _integer(cells["label"], "label", where)
    size = _size(cells, where)
    image = images.setdefault(cells["path"], _Image(line, label, cells["class_name"], size))
    if (image.label, image.class_name, image.size) != (label, cells["class_name"], size):
        raise InputError(
            f"{where}: {cells['path']} has label {label} ({cells['class_name']}) and size {size} "
            f"here, but label {image.label} ({image.class_name}) and size {image.size} "
            f"in line {image.line}.",
            hint="Rows of one image differ only in their box: an image has one label.",
        )
    if (box := _box(cells, size, where)) is not None:
        image.boxes.append(box)


def _integer(text: str, column: str, where: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InputError(f"{where}: {column} is '{text}', but must be a whole number from 0 up.")
    return int(text)


def _size(cells: Mapping[str, str], where: str) -> tuple[int, int] | None:
    if "width" not in cells or (not cells["width"] and not cells["height"]):
        return None
    width, height = (_integer(cells[column], column, where) for column in _SIZE)
    if width == 0 or height == 0:
        raise InputError(f"{where}: the image size is {width} × {height}.")
    return height, width


def _box(
    cells: Mapping[str, str], size: tuple[int, int] | None, where: str
) -> tuple[float, ...] | None:
    texts = [cells.get(column, "") for column in _BOX]
    if not any(texts):
        return None
    try:
        x0, y0, x1, y1 = (float(text) for text in texts)
    except ValueError:
        raise InputError(f"{where}: the box ({', '.join(texts)}) is not four numbers.") from None
    box = (x0, y0, x1, y1)
    if not all(math.isfinite(edge) for edge in box):
        raise InputError(f"{where}: the box {box} is not finite.")
    if x1 <= x0 or y1 <= y0:
        raise InputError(
            f"{where}: the box {box} is empty: x1 must be above x0, and y1 above y0.",
            hint="Boxes are corner to corner (x0, y0, x1, y1), not x, y, width, height.",
        )
    height, width = size if size is not None else (math.inf, math.inf)
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        shown = f"the {width} × {height} image" if size is not None else "the image"
        raise InputError(
            f"{where}: the box {box} reaches outside {shown}.",
            hint="Boxes are in pixels of the upright image, corner to corner (x0, y0, x1, y1).",
        )
    return box


def _class_names(
    path: Path, images: Iterable[_Image], classes: Sequence[str] | None
) -> tuple[str, ...]:
    if classes is not None:
        for image in images:
            if image.label >= len(classes):
                raise InputError(
                    f"{path}, line {image.line}: label {image.label} is out of range: "
                    f"there are {len(classes)} classes, so labels go from 0 to {len(classes) - 1}."
                )
            if image.class_name != classes[image.label]:
                raise InputError(
                    f"{path}, line {image.line}: label {image.label} is named "
                    f"'{image.class_name}' here, but class {image.label} is "
                    f"'{classes[image.label]}'.",
                    hint="Use the labels and names that the engine was trained with.",
                )
        return tuple(classes)
    names: dict[int, str] = {}
    labels: dict[str, int] = {}
    for image in images:
        name = names.setdefault(image.label, image.class_name)
        label = labels.setdefault(image.class_name, image.label)
        if name != image.class_name:
            raise InputError(
                f"{path}, line {image.line}: label {image.label} is named "
                f"'{image.class_name}' here, but '{name}' before.",
                hint="Give every label one class name.",
            )
        if label != image.label:
            raise InputError(
                f"{path}, line {image.line}: class '{image.class_name}' has label {image.label} "
                f"here, but {label} before.",
                hint="Give every class name one label.",
            )
    highest = max(names)
    if highest + 1 != len(names):
        gap = next(label for label in range(highest) if label not in names)
        raise InputError(
            f"{path}: label {highest} is out of range: there are {len(names)} classes, so labels "
            f"go from 0 to {len(names) - 1}, and none is {gap}."
        )
    return tuple(names[label] for label in range(len(names)))


def _all_or_no_boxes(path: Path, images: Mapping[str, _Image]) -> bool:
    without = [relative for relative, image in images.items() if not image.boxes]
    if without and len(without) < len(images):
        first = without[0]
        raise InputError(
            f"{path}, line {images[first].line}: {first} has no box, but other images have; "
            f"{len(without)} of {len(images)} images have none.",
            hint="Give every image a box, or leave the box columns out.",
        )
    return not without


def _check_files(path: Path, items: Sequence[Annotation]) -> None:
    missing = missing_files([item.path for item in items])
    if missing:
        hint = "Paths are relative to the folder of the CSV."
        if "\\" in missing[0].name:  # as Windows writes them, read elsewhere
            hint = "Write / between folders, which every system reads, and not \\"
        raise InputError(
            f"{path} lists {missing[0]}, which does not exist; "
            f"{len(missing)} of {len(items)} files are missing.",
            hint=hint,
        )
