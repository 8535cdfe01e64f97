"""A multi-label set as a run wants it: who trains, who validates, and what is in each image."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bas_edge.errors import InputError
from bas_edge.segmentation import ImageSet, SetImage
from bas_edge_training.data import TrainingData

__all__ = ["MultiLabelData", "multi_label_data"]


@dataclass(frozen=True, slots=True, eq=False)
class MultiLabelData:
    """Images to train on, then those held out.

    Attributes:
        listed: Paths, classes and fingerprint; a "label" in it is a row of `present`.
        present: bool [N + M, C]: which classes are in each image.
    """

    listed: TrainingData
    present: Tensor

    @property
    def firsts(self) -> tuple[int, ...]:
        """The first class of each row."""
        return tuple(int(row.nonzero()[0, 0]) for row in self.present)


def multi_label_data(images: ImageSet, *, fraction: float, seed: int) -> MultiLabelData:
    """Split a set at random into images to train on and `fraction` of it held out.

    Images without any class are left out, and counted in a warning.

    Raises:
        InputError: No image has a class.
    """
    used = [image for image in images.images if image.labels]
    if not used:
        raise InputError(
            f"No image of the split '{images.split}' of {images.source} has a class.",
            hint="Check its labels, or choose another split.",
        )
    order = np.random.default_rng([seed, 0x5E6]).permutation(len(used))
    held = set(order[: round(fraction * len(used))].tolist())
    training = [image for at, image in enumerate(used) if at not in held]
    kept = [image for at, image in enumerate(used) if at in held]
    present = torch.zeros((len(used), len(images.classes)), dtype=torch.bool)
    for row, image in enumerate([*training, *kept]):
        present[row, list(image.labels)] = True
    count = len(training)
    listed = TrainingData(
        source=_folder(training),
        classes=images.classes,
        paths=tuple(image.path for image in training),
        labels=tuple(range(count)),
        validation_paths=tuple(image.path for image in kept),
        validation_labels=tuple(range(count, len(used))),
        background=(),
        warnings=_warnings(images, len(used), present[:count]),
        fingerprint=_fingerprint(images, training, kept),
    )
    return MultiLabelData(listed, present)


def _folder(images: list[SetImage]) -> Path:
    """What all images lie in: export looks there for frames to check on."""
    return Path(os.path.commonpath([image.path.parent.resolve() for image in images]))


def _warnings(images: ImageSet, used: int, present: Tensor) -> tuple[str, ...]:
    found = []
    if without := len(images.images) - used:
        found.append(f"{without} images without any class are left out.")
    found += [
        f"Class '{images.classes[label]}' is in no training image; it cannot be learnt."
        for label in (present.sum(0) == 0).nonzero().flatten().tolist()
    ]
    return tuple(found)


def _fingerprint(images: ImageSet, training: list[SetImage], kept: list[SetImage]) -> str:
    lines = [
        f"{role} {os.path.relpath(image.path, images.source)} {image.labels}"
        for role, members in (("train", training), ("validate", kept))
        for image in members
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
