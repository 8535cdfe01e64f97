"""Rules that choose a cut from the map alone, and a comparison of them on maps with boxes.

What ships is one rule for every head and every data set, with a factor for BAS's maps and one for
those of the CAM family; docs/evaluation.md tells how they are chosen.
The rules here are the candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.localization import BoxAccuracy, box_accuracy
from bas_edge.metrics.max_box_acc import MaxBoxAccV2, max_box_acc, max_box_acc_v2
from bas_edge.metrics.protocols import THRESHOLDS, BoxProtocol, Rule

__all__ = [
    "CAM_FACTOR",
    "NETWORK_CAP",
    "NETWORK_FACTOR",
    "RULES",
    "LabelFreeRule",
    "RuleScore",
    "compare_rules",
    "network_cut",
    "normalised_cells",
]


NETWORK_FACTOR = 1.9  # times the pooled mean: see `network_cut`
CAM_FACTOR = 1.5  # the same for maps that no loss makes flat inside and steep at the edge
NETWORK_CAP = 0.7  # the best cuts in hindsight were 0.10 to 0.72: docs/evaluation.md


class LabelFreeRule(msgspec.Struct, frozen=True, kw_only=True):
    """How to cut each map without looking at a box.

    Attributes:
        rule: What the values mean to `bas_edge.ops.maps_to_boxes`.
        value: One constant for every map, or a function from the normalised cells [N, P] of a
            split to one threshold per map [N].
    """

    rule: Rule
    value: float | Callable[[NDArray[np.float64]], NDArray[np.float64]]

    def thresholds(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """One value per map [N] for maps [N, h, w]."""
        if callable(self.value):
            return self.value(normalised_cells(maps)).astype(np.float32)
        return np.full(len(maps), self.value, np.float32)


class RuleScore(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule reaches.

    Attributes:
        name: As in `RULES`.
        accuracy: Of the largest region's box at IoU 0.3, 0.5 and 0.7, in percent.
        gap: Points missing at IoU 0.5 to the best fixed cut chosen with boxes (MaxBoxAcc).
            Negative where per-map cuts beat every fixed one.
    """

    name: str
    accuracy: BoxAccuracy
    gap: float


def compare_rules(
    protocol: BoxProtocol,
    maps: NDArray[np.float32],
    truth: GroundTruth,
    rules: Mapping[str, LabelFreeRule] | None = None,
) -> tuple[MaxBoxAccV2, list[RuleScore]]:
    """Every rule on the same maps [N, h, w], the smallest gap first, and the oracle beside them."""
    sweep = protocol.sweep(maps, truth, THRESHOLDS)
    oracle = max_box_acc_v2(sweep, THRESHOLDS, protocol)
    best = max_box_acc(sweep, THRESHOLDS, protocol).accuracy
    scores = []
    for name, rule in (RULES if rules is None else rules).items():
        ious = protocol.ious(maps, truth, rule.thresholds(maps), rule.rule).largest
        accuracy = box_accuracy(ious, protocol)
        scores.append(RuleScore(name=name, accuracy=accuracy, gap=best - accuracy.by_iou["0.5"]))
    return oracle, sorted(scores, key=lambda score: (score.gap, -score.accuracy.mean, score.name))


def normalised_cells(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cells of each map [N, h, w], min-max scaled to 0..1: [N, P]. A flat map is all 0."""
    cells = maps.reshape(len(maps), maps.shape[1] * maps.shape[2]).astype(np.float64)
    low = cells.min(axis=1, keepdims=True)
    span = cells.max(axis=1, keepdims=True) - low
    return np.where(span > 0, (cells - low) / np.where(span > 0, span, 1.0), 0.0)


def otsu(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest between-class variance, over every split of the sorted cells (no histogram).

    N. Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    if cells.shape[1] < 2:
        return np.zeros(len(cells))
    ordered, below, above, count = _splits(cells)
    total = cells.shape[1]
    variance = count * (total - count) * (above - below) ** 2  # [N, P - 1]
    return _between(ordered, variance.argmax(axis=1))


def isodata(cells: NDArray[np.float64], rounds: int = 64) -> NDArray[np.float64]:
    """The cut halfway between the means on its two sides.

    T. W. Ridler and S. Calvard, "Picture thresholding using an iterative selection method", 1978.
    """
    cut: NDArray[np.float64] = cells.mean(axis=1)
    for _ in range(rounds):
        below, above = _means(cells, cut)
        cut = (below + above) / 2
    return cut


def li(cells: NDArray[np.float64], rounds: int = 64) -> NDArray[np.float64]:
    """Minimum cross entropy between a map and its two-level version.

    C. H. Li and P. K. S. Tam, "An iterative algorithm for minimum cross entropy thresholding",
    1998.
    """
    cut: NDArray[np.float64] = cells.mean(axis=1)
    for _ in range(rounds):
        below, above = (np.maximum(mean, 1e-9) for mean in _means(cells, cut))
        apart = above > below
        logs = np.where(apart, np.log(above) - np.log(below), 1.0)
        cut = np.where(apart, (above - below) / logs, below)
    return cut


def triangle(cells: NDArray[np.float64], bins: int = 64) -> NDArray[np.float64]:
    """The histogram bin farthest below the line from its peak to the far end of its long tail.

    G. W. Zack, W. E. Rogers and S. A. Latt, "Automatic measurement of sister chromatid exchange
    frequency", 1977.
    """
    cuts = np.empty(len(cells))
    for n, row in enumerate(cells):
        counts, _ = np.histogram(row, bins=bins, range=(0.0, 1.0))
        peak = int(counts.argmax())
        end = bins - 1 if peak < bins / 2 else 0
        positions = np.arange(min(peak, end), max(peak, end) + 1)
        slope = (counts[end] - counts[peak]) / (end - peak)
        depth = counts[peak] + slope * (positions - peak) - counts[positions]
        cuts[n] = (positions[int(depth.argmax())] + 0.5) / bins
    return cuts


def stable_area(cells: NDArray[np.float64], reach: int = 10) -> NDArray[np.float64]:
    """The cut whose foreground area changes least, relative to itself, within ±`reach` percent.

    The idea of maximally stable extremal regions (J. Matas et al., 2002), for whole maps.
    """
    grid = np.arange(101) / 100
    area = np.stack([(cells > cut).mean(axis=1) for cut in grid], axis=1)  # [N, 101]
    change = area[:, : -2 * reach] - area[:, 2 * reach :]
    middle = area[:, reach:-reach]
    relative = np.where(middle > 0, change / np.where(middle > 0, middle, 1.0), np.inf)
    cuts: NDArray[np.float64] = grid[reach + relative.argmin(axis=1)]
    return cuts


def mean_plus_deviations(deviations: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The mean of a map plus a number of its standard deviations."""
    return lambda cells: cells.mean(axis=1) + deviations * cells.std(axis=1)


def capped_mean(factor: float, cap: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A factor on the mean of a map, but no higher than `cap`: for objects that fill the frame."""
    return lambda cells: np.minimum(factor * cells.mean(axis=1), cap)


def scaled_otsu(factor: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A factor on Otsu's cut: BAS maps are flat inside and soft at the edge of the object."""
    return lambda cells: factor * otsu(cells)


def pooled(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A rule applied once to the cells of all maps together: one cut [N] for the whole split.

    A cut per map follows the size of each object, and large objects lose their edges to it; one
    cut for all follows only the network.
    """

    def rule(cells: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(cells) == 0:
            return np.zeros(0)
        return np.full(len(cells), function(cells.reshape(1, -1))[0])

    return rule


def network_cut(maps: NDArray[np.float32], factor: float = NETWORK_FACTOR) -> float:
    """The one fixed threshold that a network ships with, from the maps [N, h, w] of unboxed images.

    A factor times the mean of all their normalised cells, at most 0.7: a network whose maps are
    mostly empty is cut low, one whose maps are wide and soft is cut high. Meant for the training
    images at export time; some hundred are enough. docs/evaluation.md compares it with other rules.

    Args:
        maps: Any range; each is scaled by its own.
        factor: NETWORK_FACTOR for BAS, CAM_FACTOR for methods of the CAM family.

    Raises:
        InputError: There is no map, or every map is flat.
    """
    cells = normalised_cells(maps)
    if not cells.any():
        raise InputError(
            f"Cannot choose a threshold from {len(maps)} maps: none has any contrast.",
            hint="Give the maps of a trained network on images with objects.",
        )
    return float(capped_mean(factor, NETWORK_CAP)(cells.reshape(1, -1))[0])


def _splits(
    cells: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Sorted cells [N, P], and for each of P - 1 splits the mean below, above, and the count."""
    ordered = np.sort(cells, axis=1)
    running = np.cumsum(ordered, axis=1)
    count = np.arange(1, cells.shape[1])
    below = running[:, :-1] / count
    above = (running[:, -1:] - running[:, :-1]) / (cells.shape[1] - count)
    return ordered, below, above, count


def _between(ordered: NDArray[np.float64], split: NDArray[np.intp]) -> NDArray[np.float64]:
    """Halfway between the last cell below a split and the first above it."""
    rows = np.arange(len(ordered))
    middle: NDArray[np.float64] = (ordered[rows, split] + ordered[rows, split + 1]) / 2
    return middle


def _means(
    cells: NDArray[np.float64], cut: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of the cells at or below a cut, and above it; the cut itself where there are none."""
    above = cells > cut[:, None]
    high, low = above.sum(axis=1), (~above).sum(axis=1)
    mean_above = np.where(high > 0, (cells * above).sum(axis=1) / np.maximum(high, 1), cut)
    mean_below = np.where(low > 0, (cells * ~above).sum(axis=1) / np.maximum(low, 1), cut)
    return mean_below, mean_above


def _fixed(value: float) -> LabelFreeRule:
    return LabelFreeRule(rule="fixed", value=value)


def _per_map(function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> LabelFreeRule:
    return LabelFreeRule(rule="fixed", value=function)


RULES: Mapping[str, LabelFreeRule] = MappingProxyType(
    {
        "fixed 0.10 (BAS-Extension)": _fixed(0.10),
        "fixed 0.15 (BAS)": _fixed(0.15),
        "fixed 0.30": _fixed(0.30),
        "fixed 0.50": _fixed(0.50),
        **{
            f"mean x {factor:.2f}": LabelFreeRule(rule="mean", value=factor)
            for factor in (1.0, 1.25, 1.4, 1.5, 1.6, 1.75, 2.0)
        },
        **{
            f"mean x {factor:.2f}, at most {cap:.2f}": _per_map(capped_mean(factor, cap))
            for factor, cap in ((1.5, 0.4), (1.5, 0.5), (1.5, 0.6), (1.75, 0.5), (2.0, 0.5))
        },
        "mean + 0.25 deviations": _per_map(mean_plus_deviations(0.25)),
        "mean + 0.50 deviations": _per_map(mean_plus_deviations(0.5)),
        "Otsu": _per_map(otsu),
        "Otsu x 0.75": _per_map(scaled_otsu(0.75)),
        "Otsu x 0.60": _per_map(scaled_otsu(0.6)),
        "pooled Otsu": _per_map(pooled(otsu)),
        "pooled Li": _per_map(pooled(li)),
        **{
            f"pooled mean x {factor:.2f}, at most {NETWORK_CAP:.2f}": _per_map(
                pooled(capped_mean(factor, NETWORK_CAP))
            )
            for factor in (CAM_FACTOR, 1.75, NETWORK_FACTOR, 2.0, 2.25)
        },
        "isodata": _per_map(isodata),
        "Li": _per_map(li),
        "triangle": _per_map(triangle),
        "stable area": _per_map(stable_area),
    }
)
