"""How right the masks of an engine are, on a set with true ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.evaluation_processes import Share
from bas_edge.images import read_image
from bas_edge.metrics import ConfusionMatrix, SegmentationAccuracy
from bas_edge.processes import check_processes, in_processes
from bas_edge.segmentation.image_set import ImageSet, SetImage
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
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> SegmentationEvaluation:
    """Run a segmentation engine on every image of a split, and score its masks.

    Masks are compared at the size of the original image (docs/segmentation.md).

    Args:
        engine: An engine bundle, or a bare `.onnx` file.
        data: See `read_image_set`; its classes are those of the engine.
        split: Which images.
        backend: See `Segmenter`.
        threads: CPU threads of the network; of each process.
        processes: How many share the images, and the processors; as for `bas_edge.evaluate`.
        progress: Called with the images done, and all of them.

    Raises:
        InputError: The set has other classes, or no masks, or no image of it can be read.
        EngineError, BackendError: See `Segmenter`.
    """
    check_processes(processes)
    images = read_image_set(data, split)
    images.require_masks()
    processes = min(processes, len(images.images))
    share = Share.of(engine, backend, threads, processes)
    work = _Work(share, images)
    matrix = ConfusionMatrix(images.classes)
    reasons: dict[int, str] = {}
    done = 0
    with closing(in_processes(work, processes) if processes > 1 else work(0, 1)) as parts:
        for place, counts in parts:
            if isinstance(counts, str):
                reasons[place] = counts
            else:
                matrix.counts += counts
            done += 1
            if progress is not None:
                progress(done, len(images.images))
    skipped = {str(images.images[place].path): reasons[place] for place in sorted(reasons)}
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
        backend=share.backend,
        images=counted,
        accuracy=matrix.result(),
        skipped=skipped,
    )


@dataclass(frozen=True)
class _Work:
    """Runs its part of the images, in one process or in each of several."""

    share: Share
    images: ImageSet

    def __call__(
        self, rank: int, size: int
    ) -> Generator[tuple[int, NDArray[np.int64] | str], None, None]:
        """Of each image its place, and the counts of its pixels or why it has none."""
        share = self.share
        with Segmenter(
            share.engine, backend=share.backend, threads=share.threads, device=share.device(rank)
        ) as segmenter:
            self.images.require_classes(share.engine, segmenter.classes)
            for place in range(rank, len(self.images.images), size):
                yield place, self._counts(segmenter, self.images.images[place])

    def _counts(self, segmenter: Segmenter, image: SetImage) -> NDArray[np.int64] | str:
        assert image.mask is not None  # require_masks() saw to it
        matrix = ConfusionMatrix(self.images.classes)
        try:
            matrix.add(image.mask.read(), segmenter.run(read_image(image.path)).mask)
        except InputError as error:
            return str(error)
        return matrix.counts
