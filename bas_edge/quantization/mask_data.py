"""The images that a segmenter's bound is measured on, with their true masks where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bas_edge.engine.manifest import Manifest
from bas_edge.errors import InputError
from bas_edge.quantization.frame_source import find_frames
from bas_edge.quantization.job import PrecisionJob
from bas_edge.segmentation.image_set import MaskSource
from bas_edge.segmentation.read_set import is_image_set, read_image_set

__all__ = ["EVALUATION_SPLIT", "MaskImages", "mask_images"]

EVALUATION_SPLIT = "val"


@dataclass(frozen=True, slots=True, eq=False)
class MaskImages:
    """Images to measure on.

    Attributes:
        paths: M files.
        masks: M true masks; None where they are not known.
        source: What they are, in words.
    """

    paths: Sequence[Path]
    masks: Sequence[MaskSource] | None
    source: str

    def contradiction(self, index: int, size: tuple[int, int]) -> str | None:
        """Why the image at `index`, which is of this size (H, W), cannot be used, or None."""
        if self.masks is None:
            return None
        try:
            found = self.masks[index].read().shape
        except InputError as error:
            return str(error)
        if found == size:
            return None
        return (
            f"{self.paths[index]} is {size[1]} × {size[0]}, but its mask is {found[1]} × "
            f"{found[0]}."
        )

    def some(self, indices: Sequence[int]) -> Sequence[MaskSource] | None:
        """The true masks of these images."""
        return None if self.masks is None else [self.masks[index] for index in indices]


def mask_images(job: PrecisionJob, manifest: Manifest) -> MaskImages:
    """What `job.evaluation` names: a split of a data set with masks, or bare images.

    Raises:
        InputError: The set has other classes than the engine, or a split was named and there is
            no data set; see also `read_image_set` and `find_frames`.
    """
    assert job.evaluation is not None
    source = Path(job.evaluation)
    if not is_image_set(source):
        if job.evaluation_split is not None:
            raise InputError(
                f"--eval-split is about a VOC, COCO or index folder, and {source} is none.",
                hint="Leave it out.",
            )
        found = find_frames(job.evaluation)
        if found.video:
            raise InputError(
                f"{source} is no folder, image or CSV, which the bound is measured on.",
                hint="Leave --eval out: a part of the calibration frames is kept apart for it.",
            )
        return MaskImages(found.images, None, str(job.evaluation))
    images = read_image_set(source, job.evaluation_split or EVALUATION_SPLIT)
    images.require_classes("The graph", manifest.classes)
    named = f"{source}, split {images.split}"
    with_masks = [(image.path, image.mask) for image in images.images if image.mask is not None]
    if not with_masks:
        return MaskImages([image.path for image in images.images], None, named)
    if left_out := len(images.images) - len(with_masks):
        job.note(f"{left_out} of {len(images.images)} images of {named} have no mask: left out.")
    paths, masks = zip(*with_masks, strict=True)
    return MaskImages(paths, masks, named)
