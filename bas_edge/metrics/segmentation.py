"""Masks against true masks: the confusion matrix of their pixels, and IoU from it.

IoU of a class = pixels where both have it / pixels where either has it, over the whole set
(PASCAL VOC 2012, segmentation task); mIoU is its mean, the background among the classes. A class
that is in no mask and in no prediction has no IoU and does not count. Pixels whose true value is
255 do not count at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError

__all__ = ["ConfusionMatrix", "SeedSweep", "SegmentationAccuracy"]

_IGNORE = 255


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationAccuracy:
    """What a confusion matrix says.

    Attributes:
        classes: 1 + C names, "background" first.
        counts: int64 [1 + C, 1 + C] pixels; rows are the truth, columns the prediction.
    """

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """[1 + C], 0 to 1; NaN for a class that nothing has."""
        both = np.diag(self.counts)
        either = self.counts.sum(axis=0) + self.counts.sum(axis=1) - both
        iou = np.full(len(both), np.nan)
        np.divide(both, either, out=iou, where=either > 0)
        return iou

    @property
    def miou(self) -> float:
        """Mean IoU, 0 to 1; NaN where no pixel was counted."""
        known = self.iou[~np.isnan(self.iou)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Fraction of the counted pixels that are right; NaN where there are none."""
        total = int(self.counts.sum())
        return int(np.trace(self.counts)) / total if total else float("nan")

    def table(self) -> list[str]:
        """One line a class, in percent, and the mean; "-" for a class that nothing has."""
        width = max(len(name) for name in (*self.classes, "mean IoU"))
        figures = [*zip(self.classes, self.iou.tolist(), strict=True), ("mean IoU", self.miou)]
        return [
            f"{name.ljust(width)}  {'    -' if np.isnan(value) else f'{100 * value:5.1f}'}"
            for name, value in figures
        ]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; a class without an IoU has None."""
        values = [None if np.isnan(value) else value for value in self.iou.tolist()]
        return {
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "iou": dict(zip(self.classes, values, strict=True)),
        }


class ConfusionMatrix:
    """Counts pixels, exactly, over any number of masks."""

    def __init__(self, classes: Sequence[str]) -> None:
        """`classes` are C names, without the background."""
        self.classes = ("background", *classes)
        self.counts = np.zeros((len(self.classes),) * 2, np.int64)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Count one pair of masks, uint8 [H, W]: 0 to C, and in `truth` also 255.

        Raises:
            InputError: They differ in size, or hold another value.
        """
        _check_pair(truth, predicted, len(self.classes))
        self.counts += _counts(truth, predicted, len(self.classes))

    def result(self) -> SegmentationAccuracy:
        """What was counted so far."""
        return SegmentationAccuracy(self.classes, self.counts.copy())


class SeedSweep:
    """The same for seeds, at many thresholds at once."""

    def __init__(self, classes: Sequence[str], thresholds: Iterable[float]) -> None:
        """`classes` are C names, without the background; a seed is kept above its threshold."""
        self.thresholds = tuple(sorted({float(value) for value in thresholds}))
        self._classes = ("background", *classes)
        known = len(self._classes)
        # [truth, strongest class, thresholds that its strength is above]
        self._counts = np.zeros((known, known, len(self.thresholds) + 1), np.int64)

    def add(
        self, truth: NDArray[np.uint8], best: NDArray[np.uint8], strength: NDArray[np.float32]
    ) -> None:
        """Count one image; see `count`."""
        self.add_counts(self.count(truth, best, strength))

    def count(
        self, truth: NDArray[np.uint8], best: NDArray[np.uint8], strength: NDArray[np.float32]
    ) -> dict[int, int]:
        """What one image adds, to be handed to `add_counts` of an equal sweep.

        Args:
            truth: uint8 [H, W]: 0 to C, or 255.
            best: uint8 [H, W], 0 to C: the strongest class of each pixel.
            strength: float32 [H, W], how strong; where it is not above the threshold, the pixel
                is background.

        Returns:
            Place -> pixels, above 0.

        Raises:
            InputError: They differ in size, or hold another value.
        """
        known, _, levels = self._counts.shape
        _check_pair(truth, best, known)
        counted = truth != _IGNORE
        above = np.searchsorted(np.asarray(self.thresholds, np.float32), strength[counted])
        pairs = truth[counted].astype(np.int64) * known + best[counted]
        found = np.bincount(pairs * levels + above)
        places = np.flatnonzero(found)
        return dict(zip(places.tolist(), found[places].tolist(), strict=True))

    def add_counts(self, counts: Mapping[int, int]) -> None:
        """Add what `count` gave for an image."""
        places = np.fromiter(counts.keys(), np.int64, len(counts))
        self._counts.reshape(-1)[places] += np.fromiter(counts.values(), np.int64, len(counts))

    def result(self, threshold: float) -> SegmentationAccuracy:
        """At one of the thresholds."""
        kept = self.thresholds.index(threshold) + 1
        counts = self._counts[..., kept:].sum(axis=2)
        counts[:, 0] += self._counts[..., :kept].sum(axis=(1, 2))
        return SegmentationAccuracy(self._classes, counts)

    def best(self) -> tuple[float, SegmentationAccuracy]:
        """The threshold with the highest mIoU (ties to the lower one), and what it gives."""
        results = [self.result(threshold) for threshold in self.thresholds]
        at = int(np.argmax([result.miou for result in results]))
        return self.thresholds[at], results[at]

    def curve(self) -> list[tuple[float, float]]:
        """(threshold, mIoU) of each threshold."""
        return [(threshold, self.result(threshold).miou) for threshold in self.thresholds]


def _check_pair(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], known: int) -> None:
    for name, mask in (("true", truth), ("predicted", predicted)):
        if mask.dtype != np.uint8 or mask.ndim != 2:
            raise InputError(
                f"The {name} mask is {mask.dtype} {list(mask.shape)}, not uint8 [H, W]."
            )
    if truth.shape != predicted.shape:
        raise InputError(
            f"The predicted mask is {list(predicted.shape)}, the true one {list(truth.shape)}."
        )
    if predicted.size and (highest := int(predicted.max())) >= known:
        raise InputError(f"The predicted mask has the value {highest}; there are 0 to {known - 1}.")
    strange = (truth >= known) & (truth != _IGNORE)
    if strange.any():
        value = int(truth[strange][0])
        raise InputError(
            f"The true mask has the value {value}; there are 0 to {known - 1} and 255."
        )


def _counts(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], known: int
) -> NDArray[np.int64]:
    counted = truth != _IGNORE
    pairs = truth[counted].astype(np.int64) * known + predicted[counted]
    return np.bincount(pairs, minlength=known * known).reshape(known, known).astype(np.int64)
