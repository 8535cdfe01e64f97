"""Which kind of data set a folder is."""

from __future__ import annotations

import os
from pathlib import Path

from bas_edge.errors import InputError
from bas_edge.segmentation.coco import is_coco, read_coco
from bas_edge.segmentation.image_set import ImageSet
from bas_edge.segmentation.index_file import CLASSES_NAME, INDEX_NAME, read_index
from bas_edge.segmentation.voc import VOC_LISTS, read_voc, voc_root

__all__ = ["is_image_set", "read_image_set"]


def is_image_set(source: str | os.PathLike[str], *, complete: bool = False) -> bool:
    """Whether `read_image_set` knows the layout of a folder.

    `complete`: also whether its lists of images and classes are there, without which it is none.
    """
    root = Path(source)
    if not root.is_dir():
        return False
    if (root / INDEX_NAME).is_file():
        return not complete or (root / CLASSES_NAME).is_file()
    voc = voc_root(root)
    if voc is not None:
        return not complete or (voc / VOC_LISTS).is_dir()
    return is_coco(root)


def read_image_set(source: str | os.PathLike[str], split: str = "train") -> ImageSet:
    """Read one split of a multi-label data set in its own folder format.

    source                                            split
    VOC 2012: VOCdevkit, or VOC2012 in it             a list in ImageSets/Segmentation
    COCO: a folder with annotations/instances_*.json  "train2014", or "train" where one fits
    index: a folder with index.csv and classes.json   a value of the column `split`

    Every listed image exists; masks are read later, one at a time.

    Raises:
        InputError: None of these, no such split, or a file is missing, unreadable or contradicts
            another. The message says which file was expected where.
    """
    root = Path(source)
    if root.is_file():
        raise InputError(
            f"{root} is a file, and data with several labels an image are a folder.",
            hint="docs/segmentation.md shows the three folder layouts.",
        )
    if not root.is_dir():
        raise InputError(f"No such data set folder: {root}.", hint="Check the path.")
    if (root / INDEX_NAME).is_file():
        return read_index(root, split)
    voc = voc_root(root)
    if voc is not None:
        return read_voc(voc, split)
    if is_coco(root):
        return read_coco(root, split)
    raise InputError(
        f"{root} is no data set with several labels an image: it has neither {INDEX_NAME}, nor "
        "ImageSets/Segmentation (VOC), nor annotations/instances_*.json (COCO).",
        hint="docs/segmentation.md shows the three folder layouts.",
    )
