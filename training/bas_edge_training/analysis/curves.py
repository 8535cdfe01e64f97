"""Averages over images: the three curves of the experiment, and where they end."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge_training.analysis.responses import Responses

__all__ = ["SETTLED", "Curve", "Extreme", "Extremes", "Mean", "Point", "average"]

SETTLED = 0.9  # of the way from no features to the whole image


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """Of one figure over the images.

    Attributes:
        mean, median: In the figure's own unit.
        standard_error: Of the mean; None for a single image.
    """

    mean: float
    standard_error: float | None
    median: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """All curves at one size of the masks.

    Attributes:
        ratio: Pixels of the mask over pixels of the object.
        area: Mean share of the frame that the masks cover, 0 to 1.
        whole_frame: Images whose mask is the whole frame, so that it could not be larger.
        cross_entropy: In nats, of the features inside the mask.
        foreground: relu(S) of the features inside the mask over S of the whole image.
        background: relu(S) of the features outside it over S of the whole image, at most 1: the
            loss L_bas (arXiv 2112.00580, section 3), with this mask as the foreground.
    """

    ratio: float
    area: float
    whole_frame: int
    cross_entropy: Mean
    foreground: Mean
    background: Mean


class Extreme(msgspec.Struct, frozen=True, kw_only=True):
    """Where one curve has its best value, and where it has nearly reached its end.

    Attributes:
        ratio, value: Of the averaged curve's minimum (foreground: maximum) over the ratios.
        settled: The smallest ratio, interpolated between neighbours, at which the averaged curve
            has gone SETTLED of the way from its value without features to that of the whole
            image; None where it has not by the largest ratio.
        image_ratio: Of each image's own minimum or maximum.
    """

    ratio: float
    value: float
    settled: float | None
    image_ratio: Mean


class Extremes(msgspec.Struct, frozen=True, kw_only=True):
    """One for each curve."""

    cross_entropy: Extreme
    foreground: Extreme
    background: Extreme


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """The averages over some images.

    Attributes:
        class_name: Whose images; None for all.
        images: How many.
        top1: Share of them whose best class is their label, 0 to 1, on the whole image.
        whole_cross_entropy, empty_cross_entropy: Means in nats, of whole images and of images
            without any features.
        points: By ascending ratio.
        extremes: Of the curves through the points.
    """

    class_name: str | None
    images: int
    top1: float
    whole_cross_entropy: float
    empty_cross_entropy: float
    points: tuple[Point, ...]
    extremes: Extremes


def average(found: Responses, ratios: Sequence[float], *, class_name: str | None = None) -> Curve:
    """The curves over N images, at least one, all with a positive S of the whole image.

    Args:
        found: [N, R] responses.
        ratios: R, ascending.
        class_name: For the result.
    """
    whole = found.whole[:, None]  # [N, 1]
    ends = np.maximum(found.empty, 0) / found.whole  # [N], what is left of S without features
    entropy = found.entropy
    foreground = np.maximum(found.inside, 0) / whole
    background = np.minimum(np.maximum(found.outside, 0) / whole, 1)
    points = tuple(
        Point(
            ratio=float(ratio),
            area=float(found.areas[:, at].mean()),
            whole_frame=int((found.areas[:, at] == 1).sum()),
            cross_entropy=_mean(entropy[:, at]),
            foreground=_mean(foreground[:, at]),
            background=_mean(background[:, at]),
        )
        for at, ratio in enumerate(ratios)
    )
    whole_entropy = float(found.whole_entropy.mean())
    empty_entropy = float(found.empty_entropy.mean())
    return Curve(
        class_name=class_name,
        images=len(found.labels),
        top1=float(found.correct.mean()),
        whole_cross_entropy=whole_entropy,
        empty_cross_entropy=empty_entropy,
        points=points,
        extremes=Extremes(
            cross_entropy=_extreme(entropy, ratios, empty_entropy, whole_entropy),
            foreground=_extreme(foreground, ratios, float(ends.mean()), 1.0, largest=True),
            background=_extreme(background, ratios, 1.0, float(np.minimum(ends, 1).mean())),
        ),
    )


def _mean(values: NDArray[np.float64]) -> Mean:
    count = len(values)
    error = float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else None
    return Mean(mean=float(values.mean()), standard_error=error, median=float(np.median(values)))


def _extreme(
    values: NDArray[np.float64],
    ratios: Sequence[float],
    start: float,
    end: float,
    *,
    largest: bool = False,
) -> Extreme:
    """Of [N, R] values whose mean goes from `start`, without features, to `end`."""
    sizes, mean = np.asarray(ratios, np.float64), values.mean(axis=0)
    best = np.argmax if largest else np.argmin
    at = int(best(mean))
    return Extreme(
        ratio=float(sizes[at]),
        value=float(mean[at]),
        settled=_crossing(sizes, mean, start, end),
        image_ratio=_mean(sizes[best(values, axis=1)]),
    )


def _crossing(
    ratios: NDArray[np.float64], mean: NDArray[np.float64], start: float, end: float
) -> float | None:
    """The first ratio, interpolated, at SETTLED of the way; None where there is no way to go."""
    if start == end:
        return None
    gone = (mean - start) / (end - start)
    past = np.flatnonzero(gone >= SETTLED)
    if not len(past):
        return None
    at = int(past[0])
    if at == 0:
        return float(ratios[0])
    share = (SETTLED - gone[at - 1]) / (gone[at] - gone[at - 1])
    return float(ratios[at - 1] + share * (ratios[at] - ratios[at - 1]))
