"""Data sets in the layouts they are published in; docs/datasets.md shows each."""

from __future__ import annotations

from pathlib import Path

from bas_edge.datasets.cub import CUB
from bas_edge.datasets.fgvc_aircraft import FGVC_AIRCRAFT
from bas_edge.datasets.ilsvrc import ILSVRC, ILSVRC_LISTS
from bas_edge.datasets.listing import Format, Listed, Listing
from bas_edge.datasets.open_images import OPEN_IMAGES
from bas_edge.datasets.stanford_cars import STANFORD_CARS
from bas_edge.datasets.stanford_dogs import STANFORD_DOGS
from bas_edge.datasets.wsoleval import WSOLEVAL
from bas_edge.errors import InputError

__all__ = ["Format", "Listed", "Listing", "find_format", "read_split"]

_FORMATS = (
    WSOLEVAL,
    CUB,
    ILSVRC,
    ILSVRC_LISTS,
    OPEN_IMAGES,
    STANFORD_DOGS,
    STANFORD_CARS,
    FGVC_AIRCRAFT,
)
_FEW = 4  # subfolders beside which a set may have been unpacked; more of them are classes


def find_format(root: Path) -> Format | None:
    """The published layout that a folder has, told by its files; None for a folder of its own.

    Raises:
        InputError: The set lies in a subfolder, which is meant.
    """
    for one in _FORMATS:
        if one.is_here(root):
            return one
    inner = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if len(inner) <= _FEW:
        for path in inner:
            for one in _FORMATS:
                if one.is_here(path):
                    raise InputError(
                        f"{root} is not {one.name} itself, but holds it in {path.name}/.",
                        hint=f"Name {path}",
                    )
    return None


def read_split(form: Format, root: Path, split: str, *, labels_only: bool) -> Listing:
    """One split of a set.

    Raises:
        InputError: It has no such split, a file is not where it is expected, two files
            contradict each other, or the split is empty.
    """
    if split not in form.splits:
        raise InputError(
            f"{form.name} has no split '{split}'; it has {', '.join(form.splits)}.",
            hint=f"For example: --split {form.training if labels_only else form.evaluation}",
        )
    listing = form.read(root, split, labels_only)
    if not listing.items:
        raise InputError(
            f"The split '{split}' of {form.name} in {root} has no images.",
            hint="docs/datasets.md shows where its lists and images are expected.",
        )
    return listing
