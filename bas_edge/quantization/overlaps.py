"""How much masks overlap, image by image: mIoU over all of them, and how certain it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bas_edge.metrics import ConfusionMatrix

__all__ = ["Overlaps", "standard_error_of_loss"]

_Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """Pixels of M pairs of masks, for background and C classes.

    Attributes:
        both: int64 [M, 1 + C], where both masks have the class.
        either: int64 [M, 1 + C], where one of them has it.
        counted: int64 [M], all that count.
    """

    both: NDArray[np.int64]
    either: NDArray[np.int64]
    counted: NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Iterable[_Pair], classes: tuple[str, ...]) -> Overlaps:
        """Of (truth, mask), each uint8 [H, W]; see `ConfusionMatrix.add`, and for its errors."""
        both, either, counted = [], [], []
        for truth, mask in pairs:
            matrix = ConfusionMatrix(classes)
            matrix.add(truth, mask)
            found = matrix.counts
            both.append(np.diag(found))
            either.append(found.sum(axis=0) + found.sum(axis=1) - np.diag(found))
            counted.append(found.sum())
        empty = (0, 1 + len(classes))
        return cls(
            np.stack(both) if both else np.zeros(empty, np.int64),
            np.stack(either) if either else np.zeros(empty, np.int64),
            np.array(counted, np.int64),
        )

    @property
    def miou(self) -> float:
        """Over all images together, 0 to 1, as `SegmentationAccuracy.miou`; NaN of no pixel."""
        return float(_mean_iou(self.both.sum(axis=0), self.either.sum(axis=0)))

    @property
    def miou_without_each(self) -> NDArray[np.float64]:
        """[M]: of all images but one."""
        return _mean_iou(self.both.sum(axis=0) - self.both, self.either.sum(axis=0) - self.either)

    @property
    def miou_of_each(self) -> NDArray[np.float64]:
        """[M]: of each image by itself; 1 of an image in which nothing counts."""
        found = _mean_iou(self.both, self.either)
        return np.where(np.isnan(found), 1.0, found)

    @property
    def same(self) -> float:
        """Share of all pixels that have the same class in both, 0 to 1; 1 of none."""
        total = int(self.counted.sum())
        return int(self.both.sum()) / total if total else 1.0


def standard_error_of_loss(without_each: NDArray[np.float64]) -> float | None:
    """Of a figure of M images together that is no mean over them, by the jackknife.

    Args:
        without_each: [M], the figure without each image; where the figure is a difference of two
            graphs, of that, so that the error is of paired images. What is not finite is left out.

    Returns:
        None of fewer than two.
    """
    known = without_each[np.isfinite(without_each)]
    count = len(known)
    if count < 2:
        return None
    return float(np.sqrt((count - 1) / count * ((known - known.mean()) ** 2).sum()))


def _mean_iou(both: NDArray[np.int64], either: NDArray[np.int64]) -> NDArray[np.float64]:
    """[..., K] -> [...]: the mean over the classes that are anywhere; NaN where none is."""
    present = either > 0
    iou = np.divide(both, either, out=np.zeros(both.shape), where=present)
    count = present.sum(axis=-1)
    mean = np.full(count.shape, np.nan)
    np.divide(iou.sum(axis=-1), count, out=mean, where=count > 0)
    return mean
