"""Labelled images: a CSV file, or one folder a class."""

from __future__ import annotations

import difflib
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.csv_rows import read_csv_rows
from bas_edge.errors import InputError
from bas_edge.images import image_files

__all__ = ["BACKGROUND_FOLDER", "Annotation", "Annotations", "read_annotations"]

BACKGROUND_FOLDER = "background"

_REQUIRED = ("path", "label", "class_name")
_BOX = ("x0", "y0", "x1", "y1")
_SIZE = ("width", "height")


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """One labelled image.

    Attributes:
        path: The image file; it existed when the annotations were read.
        label: Index into `Annotations.classes`.
        class_name: The name of `label`.
        boxes: [B, 4] float64 xyxy in pixels of the upright image, half-open; None if unknown.
        size: (H, W) if the annotations state it.
    """

    path: Path
    label: int
    class_name: str
    boxes: NDArray[np.float64] | None = None
    size: tuple[int, int] | None = None

    def contradiction(self, shape: tuple[int, int]) -> str | None:
        """Why the image of this size (H, W) is not the annotated one, or None."""
        height, width = shape
        if self.size is not None and self.size != shape:
            return (
                f"{self.path} is {width} × {height}, "
                f"but its annotation says {self.size[1]} × {self.size[0]}."
            )
        if self.boxes is not None and (self.boxes[:, 2:] > (width, height)).any():
            corner = self.boxes[:, 2:].max(axis=0)
            return (
                f"{self.path} is {width} × {height}, but a box reaches to "
                f"({corner[0]}, {corner[1]})."
            )
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """A set of labelled images.

    Attributes:
        items: In the order of the file, or of sorted paths for folders.
        classes: Class names; a label is an index into them.
        background: Images with no object of any class.
        has_boxes: Every item has at least one box. Otherwise none has.
        warnings: Sentences about data that can be used, but likely not as meant.
    """

    items: tuple[Annotation, ...]
    classes: tuple[str, ...]
    background: tuple[Path, ...] = ()
    has_boxes: bool = False
    warnings: tuple[str, ...] = ()


def read_annotations(
    source: str | os.PathLike[str], *, classes: Sequence[str] | None = None
) -> Annotations:
    """Read labelled images from a CSV file or a folder with one subfolder a class.

    CSV: UTF-8 with a header; columns `path,label,class_name`, optionally `x0,y0,x1,y1`
    (pixels, x1 and y1 exclusive) and `width,height`. Paths are relative to the CSV; rows that
    share a path are boxes of one image. Either every row has a box or none has.

    Folder: `root/<class>/**/*.jpg`; classes in sorted order; `root/background/` holds images
    without an object.

    Args:
        source: The CSV file or the folder.
        classes: The classes of an engine or a training set to hold the labels against. Without
            them the labels used must be 0 to C - 1 without a gap.

    Raises:
        InputError: Anything that would make an item mean something else than its author meant:
            an unknown column, a label out of range, a label with two names, a box that is empty
            or outside its image, a missing file, no images.
    """
    path = Path(source)
    if path.is_dir():
        return _read_folder(path, classes)
    if not path.is_file():
        raise InputError(f"No such file or folder: {path}.", hint="Check the path.")
    return _read_csv(path, classes)


# One folder a class


def _read_folder(root: Path, classes: Sequence[str] | None) -> Annotations:
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    names = tuple(p.name for p in folders if p.name != BACKGROUND_FOLDER)
    if not names:
        raise InputError(
            f"{root} has no class folders.",
            hint=f"Put the images of each class into a folder of its own: {root}/sparrow/*.jpg",
        )
    known = tuple(classes) if classes is not None else names
    items: list[Annotation] = []
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise InputError(
                f"The folder {root / name} is not one of the {len(known)} classes.",
                hint=f"Did you mean '{close[0]}'?" if close else "Rename or remove it.",
            )
        label = known.index(name)
        items += [Annotation(file, label, name) for file in image_files(root / name)]
    background = root / BACKGROUND_FOLDER
    without = tuple(image_files(background)) if background.is_dir() else ()
    return Annotations(tuple(items), known, without, warnings=_warnings(items))


# CSV


@dataclass(slots=True)
class _Image:
    """The rows of one path, while they are collected."""

    line: int
    label: int
    class_name: str
    size: tuple[int, int] | None
    boxes: list[tuple[float, ...]] = field(default_factory=list)


def _read_csv(path: Path, classes: Sequence[str] | None) -> Annotations:
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
    return Annotations(items, names, has_boxes=boxed, warnings=_warnings(items))


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    known = (*_REQUIRED, *_BOX, *_SIZE)
    for column in columns:
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
    missing = [item.path for item in items if not item.path.is_file()]
    if missing:
        raise InputError(
            f"{path} lists {missing[0]}, which does not exist; "
            f"{len(missing)} of {len(items)} files are missing.",
            hint="Paths are relative to the folder of the CSV.",
        )


def _warnings(items: Iterable[Annotation]) -> tuple[str, ...]:
    counts = Counter(item.class_name for item in items)
    return tuple(
        f"Class '{name}' has only one image; it cannot be learnt from one."
        for name, count in counts.items()
        if count == 1
    )
