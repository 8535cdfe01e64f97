"""A multi-label set as a run wants it: who trains, who validates, and what is in each image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bas_edge.errors import InputError
from bas_edge.segmentation import ImageSet, SetImage
from bas_edge_training.data import TrainingData

__all__ = ["MultiLabelData", "multi_label_data"]


_NAMED = 5  # of the classes that a warning is about


@dataclass(frozen=True, slots=True, eq=False)
class MultiLabelData:
    """Images to train on, then those held out.

    Attributes:
        listed: Paths, classes and fingerprint; a "label" in it is a row of `present`.
        present: bool [N + M, C]: which classes are in each image; without rows of
            `listed.background`.
    """

    listed: TrainingData
    present: Tensor

    @property
    def firsts(self) -> tuple[int, ...]:
        """The first class of each row, of which each has one."""
        return tuple(int(row.nonzero()[0, 0]) for row in self.present)


def multi_label_data(
    images: ImageSet, *, fraction: float, seed: int, masks: bool = False
) -> MultiLabelData:
    """Split a set at random into images to train on and `fraction` of it held out.

    Args:
        images: The set.
        fraction: 0 to 1.
        seed: Of the choice.
        masks: Learn from masks, which say of images without any class that they are background:
            these are among the others. Else they are `TrainingData.background`.

    Raises:
        InputError: No image has a class; or, without masks, each has all of them.
    """
    used = [image for image in images.images if image.labels or masks]
    apart = [] if masks else [image for image in images.images if not image.labels]
    if not any(image.labels for image in used):
        raise InputError(
            f"No image of the split '{images.split}' of {images.source} has a class.",
            hint="Check its labels, or choose another split.",
        )
    if not masks and all(len(image.labels) == len(images.classes) for image in used):
        raise InputError(
            f"Every image of the split '{images.split}' of {images.source} that has a class has "
            f"all {len(images.classes)}, so nothing tells them apart.",
            hint="Add images of other classes.",
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
        background=tuple(image.path for image in apart),
        warnings=_warnings(images, present[:count]),
        fingerprint=_fingerprint(
            images, {"train": training, "validate": kept, "background": apart}, masks=masks
        ),
    )
    return MultiLabelData(listed, present)


def _folder(images: list[SetImage]) -> Path:
    """What all images lie in: export looks there for frames to check on."""
    return Path(os.path.commonpath([image.path.parent.resolve() for image in images]))


def _warnings(images: ImageSet, present: Tensor) -> tuple[str, ...]:
    missing = (present.sum(0) == 0).nonzero().flatten().tolist()
    if not missing:
        return ()
    names = ", ".join(f"'{images.classes[label]}'" for label in missing[:_NAMED])
    more = ", …" if len(missing) > _NAMED else ""
    return (
        f"{len(missing)} of {len(images.classes)} classes cannot be learnt, being in no training "
        f"image: {names}{more}.",
    )


def _fingerprint(images: ImageSet, roles: Mapping[str, list[SetImage]], *, masks: bool) -> str:
    lines = [
        f"{role} {os.path.relpath(image.path, images.source)} {image.labels}"
        for role, members in roles.items()
        for image in members
    ]
    if masks:  # so that no run of the one kind is resumed as one of the other
        lines.insert(0, "masks")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
