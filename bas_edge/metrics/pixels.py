"""PxAP and peak IoU: how well the map itself, not a box, agrees with annotated masks.

PxAP is the pixel average precision of Choe et al., "Evaluating Weakly Supervised Object
Localization Methods Right" (CVPR 2020), in the bins of clovaai/wsolevaluation; peak IoU is what
BAS-Extension reports beside it, from the same bins.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError

__all__ = ["PIXEL_THRESHOLDS", "PixelAccuracy", "PixelCurve"]

PIXEL_THRESHOLDS: NDArray[np.float64] = np.arange(0, 1, 0.001)  # both published codes' grid
# Bins [0, .001), … [.999, 1), [1, 2), [2, 3]: a score of 1 has a bin of its own, the last is empty.
_EDGES: NDArray[np.float64] = np.append(PIXEL_THRESHOLDS, [1.0, 2.0, 3.0])


class PixelAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Maps against masks, over all pixels of all images together. Percent.

    Attributes:
        px_ap: Area under the precision-recall curve of the pixels.
        peak_iou: The best IoU of foreground and masks at any one threshold: it has looked at
            the masks, as MaxBoxAcc has at the boxes.
        threshold: The first threshold that reaches it; pixels at or above it are foreground.
    """

    px_ap: float
    peak_iou: float
    threshold: float


class PixelCurve:
    """Counts pixels by score, image after image; holds two histograms, whatever their number."""

    def __init__(self) -> None:
        self.foreground: NDArray[np.int64] = np.zeros(len(_EDGES) - 1, np.int64)
        self.background: NDArray[np.int64] = np.zeros(len(_EDGES) - 1, np.int64)

    def add(self, scores: NDArray[Any], mask: NDArray[np.uint8]) -> None:
        """Count one image.

        Args:
            scores: [H, W] float, each map scaled to 0..1.
            mask: [H, W] uint8; 1 is foreground, 0 background, every other value is left out.

        Raises:
            InputError: The shapes differ, or a score is not within 0..1.
        """
        if scores.shape != mask.shape or scores.ndim != 2:
            raise InputError(
                f"scores have shape {list(scores.shape)} and the mask {list(mask.shape)}.",
                hint="Give both as [H, W].",
            )
        if not (scores.min() >= 0 and scores.max() <= 1):  # NaN fails too
            raise InputError(
                f"Scores reach from {scores.min()} to {scores.max()}, not within 0..1.",
                hint="Scale each map by its own minimum and maximum.",
            )
        for value, counts in ((1, self.foreground), (0, self.background)):
            bins = np.searchsorted(_EDGES, scores[mask == value], side="right") - 1
            counts += np.bincount(bins, minlength=len(counts))

    def accuracy(self) -> PixelAccuracy:
        """PxAP and peak IoU of what was counted.

        Raises:
            InputError: No pixel was foreground, so that recall means nothing.
        """
        positives = int(self.foreground.sum())
        if positives == 0:
            raise InputError(
                "There is no foreground pixel in any mask.", hint="Check the masks of the split."
            )
        # From the highest threshold down: what is at or above it.
        true = self.foreground[::-1].cumsum()
        false = self.background[::-1].cumsum()
        chosen = true + false
        some = chosen[1:] != 0  # elsewhere precision means nothing, and recall does not rise
        precision = true[1:][some] / chosen[1:][some]
        area = float((precision * np.diff(true / positives)[some]).sum())
        iou = true / (false + positives)
        peak = float(iou.max())
        first = int(np.flatnonzero(iou == peak)[-1])  # descending, so the last is the lowest
        return PixelAccuracy(
            px_ap=100 * area, peak_iou=100 * peak, threshold=float(_EDGES[-2 - first])
        )
