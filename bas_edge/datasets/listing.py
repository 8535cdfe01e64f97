"""What a data set's own files list, and reading those files line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.mask_files import MaskFiles

__all__ = [
    "Format",
    "Listed",
    "Listing",
    "add_once",
    "expect",
    "is_whole",
    "read_rows",
    "shown",
    "whole_box",
]


_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Listed:
    """One image of a split.

    Attributes:
        path: The file; it need not exist.
        label: Index into `Listing.classes`.
        boxes: [B, 4] float64 xyxy, half-open, as the set has them: they may reach past the
            image. None where labels alone were asked for, or the set has none.
        mask: Its mask; None as for `boxes`.
        size: (H, W) where the set says it.
    """

    path: Path
    label: int
    boxes: NDArray[np.float64] | None = None
    mask: MaskFiles | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """One split of a set.

    Attributes:
        classes: Names in label order.
        items: In the set's own order.
        named: False where the set only numbers its classes; `classes` are then the numbers.
        notes: Sentences about what was left out.
        images: The folder that paths of images are told from; None is the set's own.
    """

    classes: tuple[str, ...]
    items: tuple[Listed, ...]
    named: bool = True
    notes: tuple[str, ...] = ()
    images: Path | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """One published layout.

    Attributes:
        name: What messages call it.
        is_here: Whether a folder has this layout, or nearly: then what is missing is named.
        splits: Those it has.
        training, evaluation: The splits that are taken where none is named.
        read: The split of a folder; with True, labels alone, and no file with boxes or masks
            is opened.
    """

    name: str
    is_here: Callable[[Path], bool]
    splits: tuple[str, ...]
    training: str
    evaluation: str
    read: Callable[[Path, str, bool], Listing]


def expect(path: Path, what: str, *, hint: str = "") -> Path:
    """The path of a file or folder that the set must have.

    Raises:
        InputError: It is not there; the message says what was expected where.
    """
    if path.exists():
        return path
    raise InputError(
        f"{what} is expected at {path}, which does not exist.",
        hint=hint or "docs/datasets.md shows the layout.",
    )


def read_rows(
    path: Path, what: str, cells: int | Sequence[int], *, separator: str | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Each line's place, for messages, and its cells; empty lines are left out.

    Args:
        path: A text file.
        what: It in words, such as "CUB-200-2011's list of images".
        cells: How many cells a line has; the last one may hold separators. Or the counts that
            are allowed, then all separators count.
        separator: None is any white space.

    Raises:
        InputError: The file is not there, is not UTF-8 text, or a line has other cells.
    """
    expect(path, what)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if isinstance(cells, int):
            found = line.strip().split(separator, cells - 1)
            fits = len(found) == cells
        else:
            found = line.strip().split(separator)
            fits = len(found) in cells
        if not fits:
            raise InputError(
                f"{path}, line {number}: '{line.strip()[:80]}' is not a line of {what}.",
                hint="docs/datasets.md shows the layout.",
            )
        yield f"{path}, line {number}", [cell.strip() for cell in found]


def add_once(rows: dict[str, _Row], key: str, row: _Row, where: str) -> None:
    """Add a row to those of a list that may name each image once.

    Raises:
        InputError: It is there already: counted twice, or contradicted.
    """
    if key in rows:
        raise InputError(f"{where}: {key} is listed twice.", hint="Remove one of its lines.")
    rows[key] = row


def is_whole(text: str) -> bool:
    """Whether `int` reads it as a number from 0 up; `isdigit` alone allows ² too."""
    return text.isascii() and text.isdigit()


def shown(name: str) -> bool:
    """Whether a file or folder is the set's, and not what a file manager or an archive left:
    .ipynb_checkpoints, ._image.jpg.
    """
    return not name.startswith(".")


def whole_box(corners: Sequence[str] | Sequence[float], where: str) -> list[float]:
    """Four numbers as a box; one that ends where it starts is one pixel wide there.

    Published boxes name their last pixel in some sets and the one behind it in others. Both
    published evaluations take the numbers as they are, and so does this.

    Raises:
        InputError: Not four finite numbers, or the box ends before it starts.
    """
    try:
        x0, y0, x1, y1 = (float(corner) for corner in corners)
    except ValueError:
        raise InputError(f"{where}: the box {list(corners)} is not four numbers.") from None
    if not np.isfinite([x0, y0, x1, y1]).all():
        raise InputError(f"{where}: the box {list(corners)} is not finite.")
    if x1 < x0 or y1 < y0:
        raise InputError(
            f"{where}: the box {list(corners)} ends before it starts.",
            hint="This set has boxes corner to corner: x0, y0, x1, y1.",
        )
    return [x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)]
