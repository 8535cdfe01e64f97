"""The front door to labelled images: a CSV file, one folder a class, or a published data set."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from bas_edge.annotation import Annotation, Annotations, single_images
from bas_edge.annotation_csv import read_csv
from bas_edge.datasets import Format, Listing, find_format, read_split
from bas_edge.errors import InputError
from bas_edge.images import IMAGE_SUFFIXES, image_files, missing_files
from bas_edge.segmentation.read_set import is_image_set

__all__ = [
    "BACKGROUND_FOLDER",
    "Annotation",
    "Annotations",
    "Purpose",
    "published_images",
    "read_annotations",
]

BACKGROUND_FOLDER = "background"
_SPLIT_FOLDERS = {"train", "val", "val2", "valid", "validation", "test", "trainval"}

Purpose = Literal["training", "validation", "evaluation"]


def read_annotations(
    source: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    purpose: Purpose = "evaluation",
) -> Annotations:
    """Read labelled images: a CSV file, a folder with one subfolder a class, or a published set.

    CSV: UTF-8 with a header; columns `path,label,class_name`, optionally `x0,y0,x1,y1`
    (pixels, x1 and y1 exclusive) and `width,height`. Paths are relative to the CSV; rows that
    share a path are boxes of one image. Either every row has a box or none has.

    Folder: `root/<class>/**/*.jpg`; classes in sorted order; `root/background/` holds images
    without an object. With `split`, `root/<split>` is that folder.

    Published sets are told by their files and read as they are distributed: docs/datasets.md.

    Args:
        source: The CSV file or the folder.
        classes: The classes of an engine or a training set to hold the labels against. Without
            them the labels used must be 0 to C - 1 without a gap.
        split: Which part of a set that has several. Default: that of `purpose`.
        purpose: For "training" and "validation" published sets give labels alone: their boxes
            and masks are never opened.

    Raises:
        InputError: Anything that would make an item mean something else than its author meant:
            an unknown column, a label out of range, a label with two names, a box that is empty
            or outside its image, a missing file, no images.
        MissingExtraError: The set's lists are MATLAB files, and SciPy is not installed.
    """
    path = Path(source)
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"No such file or folder: {path}.", hint="Check the path.")
        if split is not None:
            raise InputError(
                f"{path} is a file, which has no split '{split}'.",
                hint="Leave --split out, or name the file of that split.",
            )
        return replace(read_csv(path, classes), name=path.name, root=path.parent)
    if (form := find_format(path)) is not None:
        return _read_published(form, path, classes, split, purpose)
    if is_image_set(path, complete=True):  # whose folders of images and masks are no classes
        raise InputError(
            f"{path} is a data set with several labels an image, not a folder a class.",
            hint="It is for segmentation: bas-edge train --task segmentation, and its engine.",
        )
    if split is not None:
        if not (path / split).is_dir():
            raise InputError(
                f"The split '{split}' is expected at {path / split}, which does not exist.",
                hint="Leave --split out, or name a folder of class folders.",
            )
        found = _read_folder(path / split, classes)
        return replace(found, name=path.name, split=split, root=path)
    return replace(_read_folder(path, classes), name=path.name, root=path.parent)


def published_images(root: Path) -> list[Path] | None:
    """The training images of a published set, without opening a box; None for other folders."""
    if not root.is_dir() or find_format(root) is None:
        return None
    return [item.path for item in read_annotations(root, purpose="training").items]


# One folder a class


def _read_folder(root: Path, classes: Sequence[str] | None) -> Annotations:
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    names = tuple(p.name for p in folders if p.name != BACKGROUND_FOLDER)
    if not names:
        raise InputError(
            f"{root} has no class folders.",
            hint=f"Put the images of each class into a folder of its own: {root}/sparrow/*.jpg",
        )
    splits = [name for name in names if name in _SPLIT_FOLDERS]
    holding = [name for name in splits if _holds_folders(root / name)]
    if len(holding) > 1 or (holding and len(splits) == len(names)):
        raise InputError(
            f"{root} holds {', '.join(splits)}, which are splits and not classes.",
            hint=f"Name one of them: --split {holding[0]}",
        )
    known = tuple(classes) if classes is not None else names
    items: list[Annotation] = []
    for name in names:
        if name not in known:
            raise _unknown_class(f"The folder {root / name}", name, known, "Rename or remove it.")
        label = known.index(name)
        items += [Annotation(file, label, name) for file in image_files(root / name)]
    background = root / BACKGROUND_FOLDER
    without = tuple(image_files(background)) if background.is_dir() else ()
    return Annotations(tuple(items), known, without, warnings=single_images(items))


def _holds_folders(folder: Path) -> bool:
    """Whether there are folders in it, and no image beside them."""
    shown = [one for one in folder.iterdir() if not one.name.startswith(".")]
    images = any(one.suffix.lower() in IMAGE_SUFFIXES for one in shown)
    return not images and any(one.is_dir() for one in shown)


def _unknown_class(what: str, name: str, known: Sequence[str], otherwise: str) -> InputError:
    close = difflib.get_close_matches(name, known, n=1)
    return InputError(
        f"{what} is not one of the {len(known)} classes.",
        hint=f"Did you mean '{close[0]}'?" if close else otherwise,
    )


# Published sets


def _read_published(
    form: Format, root: Path, classes: Sequence[str] | None, split: str | None, purpose: Purpose
) -> Annotations:
    chosen = split or (form.training if purpose == "training" else form.evaluation)
    listing = read_split(form, root, chosen, labels_only=purpose != "evaluation")
    known = tuple(classes) if classes is not None else listing.classes
    labels = _labels(form, root, listing, known)
    items = tuple(
        Annotation(
            path=item.path,
            label=labels[item.label],
            class_name=known[labels[item.label]],
            boxes=item.boxes,
            size=item.size,
            mask=item.mask,
            published=True,
        )
        for item in listing.items
    )
    missing = missing_files([item.path for item in items])
    if missing:
        raise InputError(
            f"{form.name} in {root} lists {missing[0]}, which does not exist; "
            f"{len(missing)} of {len(items)} images are missing.",
            hint="Unpack all of its images.",
        )
    return Annotations(
        items,
        known,
        has_boxes=all(item.boxes is not None for item in items),
        has_masks=all(item.mask is not None for item in items),
        warnings=(*_empty_classes(form, listing), *single_images(items)),
        notes=listing.notes,
        name=root.name,
        split=chosen,
        root=listing.images or root,
    )


def _empty_classes(form: Format, listing: Listing) -> list[str]:
    """A warning where classes have no image at all, as in a set that was unpacked in part."""
    used = {item.label for item in listing.items}
    empty = [name for label, name in enumerate(listing.classes) if label not in used]
    if not empty:
        return []
    return [
        f"{len(empty)} of the {len(listing.classes)} classes of {form.name} have no image, such as "
        f"{empty[0]}."
    ]


def _labels(form: Format, root: Path, listing: Listing, known: Sequence[str]) -> dict[int, int]:
    """The set's label of each class it uses → index into `known`."""
    used = sorted({item.label for item in listing.items})
    if not listing.named:  # numbers alone, which are trusted
        if used[-1] >= len(known):
            raise InputError(
                f"{form.name} in {root} has a label {used[-1]}, but there are {len(known)} classes."
            )
        return {label: label for label in used}
    places = {name: index for index, name in enumerate(known)}
    for label in used:
        if listing.classes[label] not in places:
            raise _unknown_class(
                f"The class {listing.classes[label]} of {form.name} in {root}",
                listing.classes[label],
                known,
                "Evaluate on the classes that the engine was trained with.",
            )
    return {label: places[listing.classes[label]] for label in used}
