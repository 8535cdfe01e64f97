"""Shares of images whose class, box, or both are right. All in percent, 0 to 100."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics.protocols import IOU_LEVELS, BoxIous, BoxProtocol

__all__ = [
    "BoxAccuracy",
    "ClassAccuracy",
    "LocalizationAccuracy",
    "box_accuracy",
    "class_accuracy",
    "label_rank",
    "localization_accuracy",
]


class ClassAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """How often the image's label is among the best classes. Percent."""

    top1: float
    top5: float


class BoxAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """How often the box is right at one cut. Percent.

    Attributes:
        by_iou: From the IoU level ("0.3", "0.5", "0.7") to the share of images above it.
        mean: Mean of `by_iou`.
    """

    by_iou: dict[str, float]
    mean: float


class LocalizationAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Box and class together, at IoU 0.5. Percent.

    Attributes:
        gt_known: The box is right, whatever the class.
        top1_loc: The box is right and the best class is the label.
        top5_loc: The box is right and the label is among the five best classes.
    """

    gt_known: float
    top1_loc: float
    top5_loc: float


def label_rank(scores: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.int64]:
    """Where each image's label stands among its classes: 0 is the best.

    Equal scores stand in class order, as everywhere in bas_edge.

    Args:
        scores: [N, C] float, any monotonous score (logits or probabilities).
        labels: [N] integers, 0 to C - 1.

    Raises:
        InputError: A label is outside 0..C-1, or the lengths differ.
    """
    scores, labels = np.asarray(scores), np.asarray(labels, np.int64)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise InputError(
            f"scores have shape {list(scores.shape)} and labels {list(labels.shape)}.",
            hint="Give scores [N, C] and labels [N].",
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < scores.shape[1]):
        raise InputError(
            f"Labels reach from {labels.min()} to {labels.max()}, "
            f"but there are {scores.shape[1]} classes.",
            hint="Labels count from 0.",
        )
    own = np.take_along_axis(scores, labels[:, None], axis=1)  # [N, 1]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    rank: NDArray[np.int64] = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return rank


def class_accuracy(rank: NDArray[np.int64]) -> ClassAccuracy:
    """Top-1 and Top-5 from `label_rank` [N]."""
    return ClassAccuracy(top1=percent(rank < 1), top5=percent(rank < 5))


def box_accuracy(
    ious: NDArray[np.float64], protocol: BoxProtocol, levels: tuple[float, ...] = IOU_LEVELS
) -> BoxAccuracy:
    """Share of images whose box is right at each IoU level, from IoUs [N] at one cut."""
    shares = {str(level): percent(protocol.correct(ious, level)) for level in levels}
    return BoxAccuracy(by_iou=shares, mean=float(np.mean(list(shares.values()))))


def localization_accuracy(
    ious: BoxIous, rank: NDArray[np.int64], protocol: BoxProtocol
) -> LocalizationAccuracy:
    """GT-known, Top-1 and Top-5 Loc of the largest region's box, from arrays [N]."""
    right = protocol.correct(ious.largest, 0.5)
    return LocalizationAccuracy(
        gt_known=percent(right),
        top1_loc=percent(right & (rank < 1)),
        top5_loc=percent(right & (rank < 5)),
    )


def percent(chosen: NDArray[np.bool_]) -> float:
    """Share of True, 0 to 100.

    Raises:
        InputError: There is nothing to take a share of.
    """
    if chosen.size == 0:
        raise InputError(
            "There is no image to measure.", hint="Check that the split holds readable images."
        )
    return float(100.0 * np.count_nonzero(chosen) / chosen.size)
