"""A small generated data set: images, labels, boxes and empty scenes, all known exactly.

folder/
├── train/<class>/0000.jpg …   labels only, one folder per class
├── train/background/          scenes without any object
├── val/0000.jpg …  val.csv    labels and boxes (x1, y1 exclusive)
└── background/                held-out scenes without any object
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bas_edge.errors import InputError

from .synthetic_scenes import SPECIES, draw_blades, draw_creature, draw_ground, random_pose

__all__ = ["SyntheticDataset", "generate_dataset"]

VAL_COLUMNS = ("path", "label", "class_name", "x0", "y0", "x1", "y1", "width", "height")


@dataclass(frozen=True, slots=True)
class SyntheticDataset:
    """Where generate_dataset() put things.

    Attributes:
        train: Folder of class folders, with a `background` folder beside the classes.
        val_csv: Annotations of the validation images, with boxes.
        background: Folder of empty scenes that training never sees.
        classes: Class names in label order (alphabetical, as folders are read).
        images: How many pictures were drawn.
    """

    train: Path
    val_csv: Path
    background: Path
    classes: tuple[str, ...]
    images: int


def generate_dataset(
    folder: Path | str,
    *,
    classes: int = 6,
    images_per_class: int = 100,
    val_per_class: int = 20,
    backgrounds: int = 60,
    size: tuple[int, int] = (168, 224),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SyntheticDataset:
    """Draw the data set into a new or empty folder. The same arguments give the same pixels.

    Args:
        classes: How many of the species to draw, 2 to 6.
        images_per_class: Training images of each class.
        val_per_class: Validation images of each class.
        backgrounds: Empty scenes, for training and as many again for evaluation.
        size: (H, W) of every picture, at least 64 each.
        progress: Called with (pictures drawn, pictures in all) after each picture.

    Raises:
        InputError: A number is out of range, or the folder already has content.
    """
    root = Path(folder)
    _check(root, classes, images_per_class, val_per_class, size)
    species = sorted(SPECIES[:classes], key=lambda kind: kind.name)
    names = tuple(kind.name for kind in species)
    total = classes * (images_per_class + val_per_class) + 2 * backgrounds
    drawn = 0

    def save(frame: Image.Image, path: Path) -> None:
        nonlocal drawn
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.save(path, quality=92)
        drawn += 1
        if progress is not None:
            progress(drawn, total)

    for label, name in enumerate(names):
        for index in range(images_per_class):
            frame, _ = _scene((seed, 0, label, index), size, label=label, classes=classes)
            save(frame, root / "train" / name / f"{index:04d}.jpg")
    for split, stream in ((root / "train" / "background", 1), (root / "background", 2)):
        split.mkdir(parents=True, exist_ok=True)
        for index in range(backgrounds):
            frame, _ = _scene((seed, stream, 0, index), size, label=None, classes=classes)
            save(frame, split / f"{index:04d}.jpg")

    rows: list[tuple[object, ...]] = []
    for index in range(val_per_class * classes):
        label = index % classes
        frame, box = _scene((seed, 3, label, index), size, label=label, classes=classes)
        save(frame, root / "val" / f"{index:04d}.jpg")
        rows.append((f"val/{index:04d}.jpg", label, names[label], *box, size[1], size[0]))
    with (root / "val.csv").open("w", newline="") as file:
        csv.writer(file).writerows([VAL_COLUMNS, *rows])
    return SyntheticDataset(root / "train", root / "val.csv", root / "background", names, drawn)


def _scene(
    key: tuple[int, ...], size: tuple[int, int], *, label: int | None, classes: int
) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """One picture and its object's box; (0, 0, 0, 0) where `label` is None."""
    rng = np.random.default_rng(key)
    frame = draw_ground(rng, size)
    box = (0, 0, 0, 0)
    if label is not None:
        species = sorted(SPECIES[:classes], key=lambda kind: kind.name)[label]
        box = draw_creature(frame, species, random_pose(rng, size), rng)
    draw_blades(frame, rng)
    return frame, box


def _check(
    root: Path, classes: int, images_per_class: int, val_per_class: int, size: tuple[int, int]
) -> None:
    if not 2 <= classes <= len(SPECIES):
        raise InputError(f"classes must be between 2 and {len(SPECIES)}, got {classes}.")
    if images_per_class < 1 or val_per_class < 1:
        raise InputError(
            "each class needs at least one training and one validation image, "
            f"got {images_per_class} and {val_per_class}."
        )
    if min(size) < 64:
        raise InputError(f"pictures must be at least 64 pixels on each side, got {size}.")
    if root.exists() and any(root.iterdir()):
        raise InputError(
            f"{root} already has content, and the data set needs a folder of its own.",
            hint="Name a new folder, or remove this one.",
        )
