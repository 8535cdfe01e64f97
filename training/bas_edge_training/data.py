"""Labelled images: which there are, who trains and who validates."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from bas_edge.annotations import read_annotations
from bas_edge.datasets import find_format
from bas_edge.errors import InputError
from bas_edge.images import image_files

__all__ = ["TrainingData", "read_training_data", "split_indices"]

_BOX_COLUMNS = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Everything a run reads, in a fixed order.

    Attributes:
        source: The folder or CSV it came from.
        classes: Names, C of them, in label order.
        paths, labels: The images to train on.
        validation_paths, validation_labels: Labelled images that are never trained on.
        background: Images without any object.
        warnings: Sentences for the user: nothing was refused, but something looks wrong.
        fingerprint: sha256 over relative paths, labels and roles; equal lists train alike.
    """

    source: Path
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    validation_paths: tuple[Path, ...]
    validation_labels: tuple[int, ...]
    background: tuple[Path, ...]
    warnings: tuple[str, ...]
    fingerprint: str


def read_training_data(
    data: Path,
    *,
    split: str | None = None,
    validation: Path | None = None,
    validation_split: str | None = None,
    validation_fraction: float = 0.0,
    background: Path | None = None,
    seed: int = 0,
) -> TrainingData:
    """List the images of an ImageFolder, a labels CSV or a published set, and split off the
    validation part.

    Boxes in `validation` are ignored: only its labels are used. Those of a published set are
    not even read, whichever of its splits it is.

    Args:
        split, validation_split: Which part of a set that has several; the defaults are its
            training and its evaluation part.

    Raises:
        InputError: Nothing to train on, a CSV with boxes, or a validation set with other classes.
    """
    if validation is None and validation_split is not None:
        raise InputError(
            f"There is a split '{validation_split}' to validate on, but no set that has it.",
            hint=f"Name it: --validation {data}",
        )
    found = read_annotations(data, split=split, purpose="training")
    if found.has_boxes:
        raise _boxes_refused(data)
    if split is not None and find_format(data) is None:
        data = data / split  # a folder of class folders like any other
    if not found.items:
        raise InputError(f"{data} has no labelled images to train on.")
    if validation is not None:
        held = read_annotations(
            validation, classes=found.classes, split=validation_split, purpose="validation"
        )
        training, kept = list(range(len(found.items))), list(range(len(held.items)))
    else:
        held = found
        training, kept = split_indices(
            [item.label for item in found.items], validation_fraction, seed
        )
    without_object = [*found.background]
    if background is not None:
        without_object += image_files(background)
    paths = tuple(found.items[i].path for i in training)
    labels = tuple(found.items[i].label for i in training)
    validation_paths = tuple(held.items[i].path for i in kept)
    validation_labels = tuple(held.items[i].label for i in kept)
    of_data, of_held = _relative_to(data), _relative_to(validation or data)
    of_background = _relative_to(background or data)
    lines = chain(
        (f"train {of_data(p)} {n}" for p, n in zip(paths, labels, strict=True)),
        (
            f"validate {of_held(p)} {n}"
            for p, n in zip(validation_paths, validation_labels, strict=True)
        ),
        (f"background {of_background(p)}" for p in without_object),
    )
    return TrainingData(
        source=data,
        classes=found.classes,
        paths=paths,
        labels=labels,
        validation_paths=validation_paths,
        validation_labels=validation_labels,
        background=tuple(without_object),
        warnings=tuple(found.warnings),
        fingerprint=_hash_of_lines(lines),
    )


def split_indices(labels: list[int], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and to hold out: `fraction` of each class, never its last image."""
    generator = np.random.default_rng([seed, 0x5B11])
    held: set[int] = set()
    of_label: dict[int, list[int]] = {}
    for i, own in enumerate(labels):
        of_label.setdefault(own, []).append(i)
    for _, members in sorted(of_label.items()):
        count = min(round(fraction * len(members)), len(members) - 1)
        held.update(int(i) for i in generator.permutation(members)[:count])
    return [i for i in range(len(labels)) if i not in held], sorted(held)


def _hash_of_lines(lines: Iterable[str]) -> str:
    """sha256 of the lines with a newline between each two, never all in memory."""
    digest = hashlib.sha256()
    for number, line in enumerate(lines):
        digest.update(f"\n{line}".encode() if number else line.encode())
    return digest.hexdigest()


def _relative_to(source: Path) -> Callable[[Path], str]:
    """Path below the data's folder, so that a moved data set keeps its fingerprint."""
    root = (source if source.is_dir() else source.parent).resolve()
    folders: dict[Path, str] = {}  # each is resolved and listed once: asking for a file is slow
    links: dict[Path, frozenset[str]] = {}

    def below(whole: Path, *, otherwise: str) -> str:
        return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else otherwise

    def relative(path: Path) -> str:
        folder = path.parent
        if folder not in folders:
            folders[folder] = below(folder.resolve() / "_", otherwise="_").removesuffix("_")
            with os.scandir(folder) as listing:
                links[folder] = frozenset(one.name for one in listing if one.is_symlink())
        if path.name in links[folder]:
            return below(path.resolve(), otherwise=path.name)
        return folders[folder] + path.name

    return relative


def _boxes_refused(path: Path) -> InputError:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        header = [name.strip() for name in next(csv.reader(stream), [])]
    kept = ",".join(str(i) for i, name in enumerate(header, 1) if name not in _BOX_COLUMNS)
    return InputError(
        f"{path} has boxes in its columns {', '.join(_BOX_COLUMNS)}; training uses image labels "
        "only and would ignore them.",
        hint=f"Keep the labels: cut -d, -f{kept} {path} > {path.with_name('labels.csv')}",
    )
