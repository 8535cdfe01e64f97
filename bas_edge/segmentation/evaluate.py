"""How right the masks of an engine are, on a set with true ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bas_edge.errors import InputError
from bas_edge.images import read_image
from bas_edge.metrics import ConfusionMatrix, SegmentationAccuracy
from bas_edge.segmentation.image_set import SetImage
from bas_edge.segmentation.read_set import read_image_set
from bas_edge.segmenter import Segmenter

__all__ = ["SegmentationEvaluation", "evaluate_segmentation"]


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationEvaluation:
    """Masks of an engine against true ones.

    Attributes:
        engine, data, split: What was measured on what.
        backend: What ran the engine, such as "onnxruntime".
        images: How many were counted.
        accuracy: IoU of every class.
        skipped: Path -> reason of each image that could not be read, or is not of its mask's size.
    """

    engine: str
    data: str
    split: str
    backend: str
    images: int
    accuracy: SegmentationAccuracy
    skipped: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "engine": self.engine,
            "data": self.data,
            "split": self.split,
            "backend": self.backend,
            "images": self.images,
            **self.accuracy.to_dict(),
            "skipped": self.skipped,
        }


def evaluate_segmentation(
    engine: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    split: str = "val",
    backend: str = "auto",
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SegmentationEvaluation:
    """Run a segmentation engine on every image of a split, and score its masks.

    Masks are compared at the size of the original image (docs/segmentation.md).

    Args:
        engine: An engine bundle, or a bare `.onnx` file.
        data: See `read_image_set`; its classes are those of the engine.
        split: Which images.
        backend, threads: See `Segmenter`.
        progress: Called with the images done, and all of them.

    Raises:
        InputError: The set has other classes, or no masks, or no image of it can be read.
        EngineError, BackendError: See `Segmenter`.
    """
    images = read_image_set(data, split)
    images.require_masks()
    skipped: dict[str, str] = {}
    with Segmenter(engine, backend=backend, threads=threads) as segmenter:
        images.require_classes(os.fspath(engine), segmenter.classes)
        matrix = ConfusionMatrix(segmenter.classes)
        for done, image in enumerate(images.images, 1):
            try:
                _count(matrix, segmenter, image)
            except InputError as error:
                skipped[str(image.path)] = str(error)
            if progress is not None:
                progress(done, len(images.images))
    counted = len(images.images) - len(skipped)
    if not counted:
        path, reason = next(iter(skipped.items()))
        raise InputError(
            f"None of the {len(skipped)} images can be measured. The first: {reason}",
            hint=f"Look at {path}.",
        )
    return SegmentationEvaluation(
        engine=os.fspath(engine),
        data=str(Path(data)),
        split=split,
        backend=segmenter.backend_name,
        images=counted,
        accuracy=matrix.result(),
        skipped=skipped,
    )


def _count(matrix: ConfusionMatrix, segmenter: Segmenter, image: SetImage) -> None:
    assert image.mask is not None  # require_masks() saw to it
    matrix.add(image.mask.read(), segmenter.run(read_image(image.path)).mask)
