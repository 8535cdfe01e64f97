"""Where to cut a map: chosen with boxes on one half of a split, or with the model alone.

Rules that need neither are in `bas_edge.metrics.label_free`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.protocols import IOU_LEVELS, BoxIous, BoxProtocol, Rule

__all__ = [
    "MEAN_FACTORS",
    "Candidate",
    "choose_candidate",
    "lambda_criterion",
    "split_halves",
    "sweep_candidates",
]

MEAN_FACTORS: NDArray[np.float64] = np.arange(10, 61) / 20  # 0.5, 0.55, … 3.0


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One way to cut a map: see `bas_edge.engine.manifest.ThresholdPolicy`."""

    rule: Rule
    value: float


def split_halves(keys: Sequence[str]) -> NDArray[np.bool_]:
    """Two halves of a split that do not depend on the machine or on the order of its rows.

    Args:
        keys: One text per image that stays the same everywhere, such as its path relative to
            the annotations.

    Returns:
        [N] bool: True for the half (the smaller one of an odd split) whose SHA-256 is lowest.
    """
    digests = [hashlib.sha256(key.encode()).digest() for key in keys]
    order = sorted(range(len(keys)), key=lambda n: (digests[n], n))
    half = np.zeros(len(keys), np.bool_)
    half[order[: len(keys) // 2]] = True
    return half


def sweep_candidates(
    protocol: BoxProtocol,
    maps: NDArray[np.float32],
    truth: GroundTruth,
    *,
    thresholds: NDArray[np.float64] | None = None,
    factors: NDArray[np.float64] = MEAN_FACTORS,
) -> tuple[list[Candidate], BoxIous]:
    """IoUs of every fixed threshold (the protocol's, by default) and every factor on the mean.

    Returns:
        K candidates, fixed thresholds first, and their IoUs [K, N].
    """
    thresholds = protocol.thresholds if thresholds is None else thresholds
    fixed = protocol.sweep(maps, truth, thresholds, "fixed")
    mean = protocol.sweep(maps, truth, factors, "mean")
    candidates = [Candidate(rule="fixed", value=float(t)) for t in thresholds]
    candidates += [Candidate(rule="mean", value=float(f)) for f in factors]
    joined = BoxIous(
        largest=np.concatenate([fixed.largest, mean.largest]),
        best=np.concatenate([fixed.best, mean.best]),
    )
    return candidates, joined


def choose_candidate(
    ious: NDArray[np.float64], protocol: BoxProtocol, levels: tuple[float, ...] = IOU_LEVELS
) -> int:
    """The row of IoUs [K, N] with the most boxes at IoU 0.5.

    Ties go to the higher mean accuracy over `levels`, then to the first row.

    Raises:
        InputError: There is no candidate or no image.
    """
    if ious.size == 0:
        raise InputError(
            f"Cannot choose a threshold from {ious.shape[0]} candidates on {ious.shape[1]} images.",
            hint="A split needs at least two images with boxes: one to choose on, one to report.",
        )
    at_half = protocol.correct(ious, 0.5).sum(axis=1)
    over_levels = sum(protocol.correct(ious, level).sum(axis=1) for level in levels)
    return int(np.lexsort((-over_levels, -at_half))[0])


def lambda_criterion(
    ratio: NDArray[Any], area: NDArray[Any], grid: NDArray[Any], lam: float
) -> float:
    """BAS's own objective as a threshold rule: no boxes, but it needs the network.

    For each cut of a grid the map is binarised and the network is asked how much of the class
    activation is left in the background: S_bg / S. A cut is good when little is left and the
    foreground is small: ratio + lam · area, averaged over images.

    Args:
        ratio: [N, T] S_bg / S with the foreground of each cut suppressed, 0 to 1.
        area: [N, T] share of the map above each cut, 0 to 1.
        grid: [T] the cuts.
        lam: Weight of the area against the ratio.

    Returns:
        The cut with the lowest mean objective; of equal ones the first.

    Raises:
        InputError: The shapes disagree, or a value is not finite.
    """
    ratio, area, grid = (np.asarray(values, np.float64) for values in (ratio, area, grid))
    if ratio.ndim != 2 or ratio.shape != area.shape or grid.shape != ratio.shape[1:]:
        raise InputError(
            f"ratio {list(ratio.shape)}, area {list(area.shape)} and grid {list(grid.shape)} "
            "do not fit together.",
            hint="Give ratio [N, T], area [N, T] and grid [T].",
        )
    if ratio.size == 0 or not (np.isfinite(ratio).all() and np.isfinite(area).all()):
        raise InputError(
            "The λ criterion needs finite curves of at least one image and one cut.",
            hint="Where S is 0 the ratio is undefined; leave such images out.",
        )
    return float(grid[(ratio + lam * area).mean(axis=0).argmin()])
