"""A folder with index.csv (path, labels, mask_path, split) and classes.json."""

from __future__ import annotations

import csv
import difflib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from bas_edge.csv_rows import read_csv_rows
from bas_edge.errors import InputError
from bas_edge.segmentation.image_set import ImageSet, SetImage
from bas_edge.segmentation.masks import IGNORE, PngMask

__all__ = ["CLASSES_NAME", "INDEX_NAME", "read_index", "write_index"]

INDEX_NAME = "index.csv"
CLASSES_NAME = "classes.json"

_REQUIRED = ("path", "labels")
_MASK, _SPLIT = "mask_path", "split"


class _Classes(msgspec.Struct):
    mask_values: dict[str, str]


def read_index(root: Path, split: str) -> ImageSet:
    """One split of `root/index.csv`; without a column `split`, every row is of every split.

    Paths are relative to `root`, labels are names between semicolons, and `mask_path` may be
    empty or left out. Other columns are not read.

    Raises:
        InputError: See `read_image_set`.
    """
    classes = _classes(root / CLASSES_NAME)
    index = root / INDEX_NAME
    images: list[SetImage] = []
    seen: set[str] = set()
    for line, cells in read_csv_rows(index, _check_columns):
        seen.add(cells.get(_SPLIT, split))
        if cells.get(_SPLIT, split) != split:
            continue
        where = f"{index}, line {line}"
        labels = _labels(cells["labels"], classes, where)
        path = _file(root, cells["path"], where)
        mask = cells.get(_MASK, "")
        source = PngMask(_file(root, mask, where), len(classes)) if mask else None
        images.append(SetImage(path, labels, source))
    if not images:
        raise InputError(
            f"{index} has no rows of the split '{split}'.",
            hint=f"Its splits are: {', '.join(sorted(seen))}.",
        )
    return ImageSet(root, split, classes, tuple(images), f"in the column {_MASK} of {index}")


def write_index(
    root: Path, classes: Sequence[str], rows: Iterable[tuple[Path, Path, Sequence[int]]], split: str
) -> None:
    """Write index.csv and classes.json into `root` for (image, mask, labels) of one split.

    Raises:
        InputError: A file cannot be written.
    """
    values = {"0": "background", str(IGNORE): "ignore"}
    values |= {str(number): name for number, name in enumerate(classes, 1)}
    try:
        text = json.dumps({"mask_values": values}, indent=1, ensure_ascii=False)
        (root / CLASSES_NAME).write_text(text + "\n", encoding="utf-8")
        with (root / INDEX_NAME).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow([*_REQUIRED, _MASK, _SPLIT])
            for image, mask, labels in rows:
                names = ";".join(classes[label] for label in labels)
                places = [Path(os.path.relpath(path, root)).as_posix() for path in (image, mask)]
                writer.writerow([places[0], names, places[1], split])
    except OSError as error:
        raise InputError(f"Cannot write into {root}: {error.strerror or error}.") from error


def _classes(path: Path) -> tuple[str, ...]:
    try:
        values = msgspec.json.decode(path.read_bytes(), type=_Classes).mask_values
    except FileNotFoundError:
        raise InputError(
            f"{path.parent} has {INDEX_NAME} but no {CLASSES_NAME}.",
            hint='It was expected beside it: {"mask_values": {"0": "background", "1": …}}',
        ) from None
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path} cannot be read as class names: {error}.") from None
    names = {number: name for number, name in values.items() if number not in ("0", str(IGNORE))}
    expected = [str(number) for number in range(1, len(names) + 1)]
    if not names or set(names) != set(expected) or len(names) >= IGNORE:
        raise InputError(
            f"{path}: the classes are numbered {', '.join(names) or 'not at all'}; they must be "
            f"1 to {len(names)} without a gap.",
            hint=f"0 is background, {IGNORE} is not counted.",
        )
    found = tuple(names[number] for number in expected)
    if len(set(found)) != len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise InputError(f"{path}: two classes are named '{twice}'.", hint="Rename one.")
    return found


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [column for column in _REQUIRED if column not in columns]
    if missing:
        raise InputError(
            f"{path} has no column '{missing[0]}'.",
            hint="The header is path,labels[,mask_path][,split]",
        )


def _labels(text: str, classes: Sequence[str], where: str) -> tuple[int, ...]:
    found: set[int] = set()
    for name in filter(None, (part.strip() for part in text.split(";"))):
        if name not in classes:
            close = difflib.get_close_matches(name, classes, n=1)
            raise InputError(
                f"{where}: '{name}' is not one of the {len(classes)} classes of {CLASSES_NAME}.",
                hint=f"Did you mean '{close[0]}'?" if close else "Labels are between semicolons.",
            )
        found.add(classes.index(name))
    return tuple(sorted(found))


def _file(root: Path, relative: str, where: str) -> Path:
    path = root / relative
    if not path.is_file():
        raise InputError(f"{where}: {path} does not exist.", hint=f"Paths are relative to {root}.")
    return path
