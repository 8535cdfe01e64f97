"""One image becomes a pseudo mask, and all of them a set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.images import read_image
from bas_edge.metrics import SeedSweep
from bas_edge.metrics.label_free import otsu
from bas_edge.ops import resize_frame
from bas_edge.segmentation import ImageSet, SetImage, unique_names, write_mask
from bas_edge.segmentation.index_file import write_index
from bas_edge_training.atomic import replace_atomically
from bas_edge_training.models import BasModel
from bas_edge_training.segmentation.mask_report import MasksReport, scores_at
from bas_edge_training.segmentation.masked_images import mask_of
from bas_edge_training.segmentation.random_walk import WalkOptions, spread
from bas_edge_training.segmentation.seed_journal import SeedRecord, end_masks
from bas_edge_training.segmentation.seeds import SeedOptions, best_seeds, seed_maps

__all__ = ["MaskMaker"]

_SWEPT = tuple(round(0.05 * step, 2) for step in range(1, 20))
_LONGEST = 1024  # pixels; larger images are worked on at this size

Seeds = tuple[NDArray[np.uint8], NDArray[np.float32]]  # strongest class, its strength; [H, W] each


class MaskMaker:
    """Makes the masks of a set. `make_masks` explains the arguments."""

    def __init__(
        self,
        model: BasModel,
        images: ImageSet,
        folder: Path,
        options: SeedOptions,
        walk: WalkOptions,
        device: torch.device,
    ) -> None:
        self.model, self.images, self.folder = model, images, folder
        self.options, self.walk, self.device = options, walk, device
        names = unique_names([image.path for image in images.images])
        self._masks = [folder / "masks" / f"{name}.png" for name in names]
        self.cut_at(0.5)

    def settings(self, checkpoint: Path, threshold: float | None) -> dict[str, str]:
        """All that decides what the masks are, by name."""
        listed = [f"{image.path.name} {image.labels}" for image in self.images.images]
        return {
            "a checkpoint with the hash": _hash(checkpoint.read_bytes()),
            "images and labels with the hash": _hash("\n".join(listed).encode()),
            "the threshold": "label-free" if threshold is None else str(threshold),
            "the seeds' options": str(self.options),
            "the walk's options": str(self.walk),
        }

    def natural_cut(self, at: int) -> float | None:
        """Otsu's cut of how strong the seeds of an image are after the walk.

        None of an image that cannot be read, or whose seeds are equally strong everywhere.
        """
        image = self.images.images[at]
        try:
            _, (_, strength) = self._made(image, read_image(image.path))
        except InputError:
            return None
        if np.ptp(strength) == 0:
            return None
        return float(otsu(strength.reshape(1, -1).astype(np.float64))[0])

    def cut_at(self, threshold: float) -> None:
        """What is background from now on: where no class is above the threshold."""
        self.threshold = threshold
        self._sweep = self._new_sweep()

    def record(self, at: int) -> SeedRecord:
        """Write the mask of an image, and count what is right of it."""
        image = self.images.images[at]
        try:
            pixels = read_image(image.path)
            truth = None if image.mask is None else mask_of(image, pixels.shape[:2])
        except InputError as error:
            return SeedRecord(at, skipped=str(error))
        seeds, refined = self._made(image, pixels)
        mask = np.where(refined[1] > np.float32(self.threshold), refined[0], np.uint8(0))
        replace_atomically(self._masks[at], lambda temporary: write_mask(temporary, mask))
        if truth is None:
            return SeedRecord(at)
        count = self._sweep.count
        return SeedRecord(at, seeds=count(truth, *seeds), refined=count(truth, *refined))

    def finish(self, done: Mapping[int, SeedRecord], split: str, next_command: str) -> MasksReport:
        """Write the index, and say what all images were.

        Raises:
            InputError: Not one image could be read.
        """
        images, masks = self.images.images, self._masks
        made = [at for at in range(len(images)) if not done[at].skipped]
        if not made:
            raise InputError(
                f"None of the {len(images)} images can be read. The first: {done[0].skipped}",
                hint=f"Look at {images[0].path}.",
            )
        rows = [(images[at].path, masks[at], images[at].labels) for at in made]
        write_index(self.folder, self.images.classes, rows, split)
        seeds, refined = self._new_sweep(), self._new_sweep()
        for record in done.values():
            seeds.add_counts(record.seeds)
            refined.add_counts(record.refined)
        scored = self.images.has_masks
        end_masks(self.folder)
        return MasksReport(
            folder=self.folder,
            images=len(made),
            background=sum(not images[at].labels for at in made),
            threshold=self.threshold,
            seeds=scores_at(seeds, self.threshold) if scored else None,
            refined=scores_at(refined, self.threshold) if scored else None,
            skipped={str(images[r.at].path): r.skipped for r in done.values() if r.skipped},
            next_command=next_command,
        )

    def _new_sweep(self) -> SeedSweep:
        return SeedSweep(self.images.classes, (*_SWEPT, self.threshold))

    def _made(self, image: SetImage, pixels: NDArray[np.uint8]) -> tuple[Seeds, Seeds]:
        """Before and after the walk."""
        size = pixels.shape[:2]
        if not image.labels:
            nothing = np.zeros(size, np.uint8), np.zeros(size, np.float32)
            return nothing, nothing
        if max(size) > _LONGEST:
            sides = [max(1, round(side * _LONGEST / max(size))) for side in size]
            pixels = resize_frame(pixels, (sides[0], sides[1]))
        maps = seed_maps(self.model, pixels, image.labels, self.options, self.device)
        walked = spread(pixels, maps, self.walk)
        seeds, refined = (
            _stretched(best_seeds(each, image.labels), size) for each in (maps, walked)
        )
        return seeds, refined


def _stretched(seeds: Seeds, size: tuple[int, ...]) -> Seeds:
    """To [H, W], each pixel as the one under its centre."""
    if seeds[0].shape == size:
        return seeds
    rows, columns = (
        (np.arange(wanted) + 0.5) * side / wanted
        for wanted, side in zip(size, seeds[0].shape, strict=True)
    )
    at = np.ix_(rows.astype(np.intp), columns.astype(np.intp))
    return seeds[0][at], seeds[1][at]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
