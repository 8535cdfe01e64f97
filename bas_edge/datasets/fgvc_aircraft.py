"""FGVC-Aircraft: the folder `data` of fgvc-aircraft-2013b, classes are the 100 variants."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bas_edge.datasets.listing import (
    Format,
    Listed,
    Listing,
    add_once,
    expect,
    read_rows,
    whole_box,
)
from bas_edge.errors import InputError

__all__ = ["FGVC_AIRCRAFT"]

_NAME = "FGVC-Aircraft"
_SPLITS = ("train", "val", "trainval", "test")


def _is_here(root: Path) -> bool:
    return any((root / f"images_variant_{split}.txt").is_file() for split in _SPLITS)


def _read(root: Path, split: str, labels_only: bool) -> Listing:
    """`images/<id>.jpg`, `variants.txt`, `images_variant_<split>.txt` and `images_box.txt`."""
    rows = read_rows(root / "variants.txt", f"{_NAME}'s list of variants", 1, separator="\n")
    labels: dict[str, int] = {}
    for where, (name,) in rows:
        add_once(labels, name, len(labels), where)
    folder = expect(root / "images", f"{_NAME}'s folder of images")
    boxes: dict[str, list[float]] = {}
    if not labels_only:
        for where, (key, *edges) in read_rows(
            root / "images_box.txt", f"{_NAME}'s list of boxes", (5,)
        ):
            x0, y0, x1, y1 = whole_box(edges, where)
            # Counted from 1, last pixel included.
            add_once(boxes, key, [x0 - 1, y0 - 1, x1, y1], where)
    list_file = root / f"images_variant_{split}.txt"
    items: dict[str, Listed] = {}
    for where, (key, variant) in read_rows(list_file, f"{_NAME}'s list of {split} images", 2):
        if variant not in labels:
            raise InputError(f"{where}: '{variant}' is not in {root / 'variants.txt'}.")
        if not labels_only and key not in boxes:
            raise InputError(f"{root / 'images_box.txt'} has no box of {key}.")
        box = None if labels_only else np.array([boxes[key]], np.float64)
        add_once(items, key, Listed(folder / f"{key}.jpg", labels[variant], boxes=box), where)
    return Listing(tuple(labels), tuple(items.values()))


FGVC_AIRCRAFT = Format(
    name=_NAME,
    is_here=_is_here,
    splits=_SPLITS,
    training="trainval",
    evaluation="test",
    read=_read,
)
