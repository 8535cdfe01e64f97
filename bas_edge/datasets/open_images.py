"""OpenImages30k as wsolevaluation distributes it: images and masks in one folder a class."""

from __future__ import annotations

import os
from pathlib import Path

from bas_edge.datasets.listing import Format, Listed, Listing, expect, shown
from bas_edge.errors import InputError
from bas_edge.mask_files import MaskFiles

__all__ = ["OPEN_IMAGES"]

_NAME = "OpenImages30k"
_SPLITS = ("train", "val", "test")
_IGNORED = "_ignore.png"


def _is_here(root: Path) -> bool:
    """Whether a class folder of some split has a file of ignored pixels."""
    return any(
        file.name.endswith(_IGNORED)
        for split in ("val", "test")
        if (root / split).is_dir()
        for one in (root / split).iterdir()
        if one.is_dir()
        for file in one.iterdir()
    )


def _read(root: Path, split: str, labels_only: bool) -> Listing:
    """`<split>/<class>/<id>.jpg`, with `<id>_ignore.png` and `<id>_m<class>_<hash>.png`."""
    folder = expect(root / split, f"{_NAME}'s folder of {split} images")
    classes = tuple(
        sorted(one.name for one in folder.iterdir() if one.is_dir() and shown(one.name))
    )
    items: list[Listed] = []
    for label, name in enumerate(classes):
        files = sorted(one.name for one in os.scandir(folder / name))
        images = [file for file in files if file.endswith(".jpg") and shown(file)]
        masks: dict[str, list[str]] = {file.removesuffix(".jpg"): [] for file in images}
        for file in files:
            stem, found, _ = file.partition("_m")
            if found and file.endswith(".png") and stem in masks:
                masks[stem].append(file)
        for stem, instances in masks.items():
            mask = None if labels_only else _mask(folder / name, stem, instances)
            items.append(Listed(folder / name / f"{stem}.jpg", label, mask=mask))
    return Listing(classes, tuple(items))


def _mask(folder: Path, stem: str, instances: list[str]) -> MaskFiles:
    if not instances:
        raise InputError(
            f"{_NAME}'s masks of {stem}.jpg are expected at {folder / stem}_m*.png; "
            "there is no such file.",
            hint="Unpack the masks into the folders of the images. Training needs none.",
        )
    ignore = expect(folder / f"{stem}{_IGNORED}", f"{_NAME}'s file of ignored pixels")
    return MaskFiles(tuple(folder / name for name in instances), ignore)


OPEN_IMAGES = Format(
    name=_NAME,
    is_here=_is_here,
    splits=_SPLITS,
    training="train",
    evaluation="test",
    read=_read,
)
