"""A mask for every image of a set, from its labels and a BAS checkpoint; scored where it can be."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.images import read_image
from bas_edge.metrics import ConfusionMatrix, SeedSweep, SegmentationAccuracy
from bas_edge.segmentation import ImageSet, SetImage, read_image_set, unique_names, write_mask
from bas_edge.segmentation.index_file import write_index
from bas_edge_training.checkpoint import Checkpoint, load_checkpoint
from bas_edge_training.machine import resolve_device
from bas_edge_training.segmentation.random_walk import WalkOptions, spread
from bas_edge_training.segmentation.seeds import SeedOptions, best_seeds, seed_maps

__all__ = ["DEFAULT_SCALES", "DEFAULT_THRESHOLD", "MaskScores", "MasksReport", "make_masks"]

DEFAULT_SCALES = (1.0, 0.5, 1.5, 2.0)
DEFAULT_THRESHOLD = 0.5
SWEPT = tuple(round(0.05 * step, 2) for step in range(1, 20))

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class MaskScores:
    """Masks of one kind against the true ones.

    Attributes:
        given: At the threshold that the masks were written with.
        best_threshold, best: In hindsight, the best of 0.05, 0.1, … 0.95.
        curve: (threshold, mIoU) of each of them.
    """

    given: SegmentationAccuracy
    best_threshold: float
    best: SegmentationAccuracy
    curve: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "given": self.given.to_dict(),
            "best_threshold": self.best_threshold,
            "best": self.best.to_dict(),
            "curve": [list(point) for point in self.curve],
        }


@dataclass(frozen=True, slots=True, eq=False)
class MasksReport:
    """What was written.

    Attributes:
        folder: With index.csv, classes.json and masks/.
        images: How many have a mask now.
        threshold: Strength above which a pixel is not background.
        seeds, refined: Before and after the random walk; None where the set has no masks.
        skipped: Path -> reason of each image that could not be read.
        next_command: What to type next.
    """

    folder: Path
    images: int
    threshold: float
    seeds: MaskScores | None
    refined: MaskScores | None
    skipped: dict[str, str] = field(default_factory=dict)
    next_command: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "folder": str(self.folder),
            "images": self.images,
            "threshold": self.threshold,
            "seeds": None if self.seeds is None else self.seeds.to_dict(),
            "refined": None if self.refined is None else self.refined.to_dict(),
            "skipped": self.skipped,
            "next_command": self.next_command,
        }


def make_masks(
    checkpoint: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    split: str = "train",
    threshold: float = DEFAULT_THRESHOLD,
    scales: tuple[float, ...] = DEFAULT_SCALES,
    size: int | None = None,
    activations: bool = True,
    walk: WalkOptions | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> MasksReport:
    """Write a pseudo mask of every image that has labels, and score it if the set has masks.

    A pixel takes the strongest of its image's own labels, or the background where that is not
    above the threshold. True masks are never used for more than the scores.

    Args:
        checkpoint: Of `bas-edge train --task segmentation`: a run folder or its file.
        data: See `read_image_set`; its classes are those of the checkpoint.
        output: A folder to create, readable by `read_image_set`.
        split: Which images.
        threshold: 0 to 1.
        scales: Of the image that the network sees.
        size: Longest side at scale 1 in pixels; None is what the network was trained with.
        activations: Join class activation maps, as published.
        walk: The random walk; None is the default one.
        device: As in a recipe.
        progress: Called with the images done, and all of them.

    Raises:
        InputError: An argument is out of range, the classes differ, or `output` is taken.
    """
    folder = Path(output)
    if not 0 <= threshold < 1:
        raise InputError(f"The threshold is {threshold}, but must be 0 to 1, and below 1.")
    if not scales or not all(0.1 <= scale <= 4 for scale in scales):
        raise InputError(f"The scales are {list(scales)}; each must be 0.1 to 4.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already.", hint="Choose another output folder.")
    loaded = load_checkpoint(checkpoint)
    images = read_image_set(data, split)
    _check_classes(loaded, images)
    options = SeedOptions(
        size=size or _trained_size(loaded),
        scales=scales,
        activations=activations,
    )
    labelled = [image for image in images.images if image.labels]
    where = resolve_device(device)
    model = loaded.model.to(where)
    names = unique_names([image.path for image in labelled])
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    seeds, refined = _Tally(images.classes), _Tally(images.classes)
    written: list[tuple[Path, Path, tuple[int, ...]]] = []
    skipped: dict[str, str] = {}
    for done, image in enumerate(labelled, 1):
        path = folder / "masks" / f"{names[done - 1]}.png"
        try:
            pixels = read_image(image.path)
            truth = None if image.mask is None else _true_mask(image, pixels)
        except InputError as error:
            skipped[str(image.path)] = str(error)
            continue
        maps = seed_maps(model, pixels, image.labels, options, where)
        walked = spread(pixels, maps, walk or WalkOptions())
        best, strength = best_seeds(walked, image.labels)
        if truth is not None:
            seeds.add(truth, *best_seeds(maps, image.labels), threshold)
            refined.add(truth, best, strength, threshold)
        write_mask(path, cut(best, strength, threshold))
        written.append((image.path, path, image.labels))
        if progress is not None:
            progress(done, len(labelled))
    write_index(folder, images.classes, written, split)
    words = ["bas-edge", "train-segmenter", str(folder), "--split", split]
    return MasksReport(
        folder=folder,
        images=len(written),
        threshold=threshold,
        seeds=seeds.scores() if images.has_masks else None,
        refined=refined.scores() if images.has_masks else None,
        skipped=skipped,
        next_command=shlex.join([*words, "--start", str(checkpoint)]),
    )


class _Tally:
    """Scores of one kind of masks, while they are made."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.given = ConfusionMatrix(classes)
        self.sweep = SeedSweep(classes, SWEPT)

    def add(
        self,
        truth: NDArray[np.uint8],
        best: NDArray[np.uint8],
        strength: NDArray[np.float32],
        threshold: float,
    ) -> None:
        self.given.add(truth, cut(best, strength, threshold))
        self.sweep.add(truth, best, strength)

    def scores(self) -> MaskScores:
        threshold, best = self.sweep.best()
        return MaskScores(self.given.result(), threshold, best, tuple(self.sweep.curve()))


def cut(
    best: NDArray[np.uint8], strength: NDArray[np.float32], threshold: float
) -> NDArray[np.uint8]:
    """The strongest class where it is above the threshold, else 0: uint8 [H, W]."""
    return np.where(strength > np.float32(threshold), best, np.uint8(0))


def _trained_size(checkpoint: Checkpoint) -> int:
    """The side that images had in training before they were cropped, in pixels.

    Checkpoints that were imported do not say; crops are 7/8 of it in every published recipe.
    """
    known = checkpoint.info.recipe_content.get("data", {}).get("resize")
    return int(known) if known else round(checkpoint.info.model.input_size * 8 / 7)


def _check_classes(loaded: Checkpoint, images: ImageSet) -> None:
    if loaded.info.classes != images.classes:
        raise InputError(
            f"{loaded.path} knows {len(loaded.info.classes)} classes, from "
            f"'{loaded.info.classes[0]}' to '{loaded.info.classes[-1]}'; {images.source} has "
            f"{len(images.classes)}, from '{images.classes[0]}' to '{images.classes[-1]}'.",
            hint="Use the data set that it was trained on.",
        )


def _true_mask(image: SetImage, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask of an image, of the same size."""
    assert image.mask is not None
    truth = image.mask.read()
    if truth.shape != pixels.shape[:2]:
        raise InputError(
            f"{image.path} is {pixels.shape[1]} × {pixels.shape[0]}, but its mask is "
            f"{truth.shape[1]} × {truth.shape[0]}.",
        )
    return truth
