"""From a tensor's histogram to the range that eight bits cover: the calibration methods.

Wider ranges round more coarsely, narrower ones clip more: the methods weigh that differently.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from bas_edge.quantization.histograms import BINS, Histogram

__all__ = ["METHODS", "Range", "tensor_range"]

Range = tuple[float, float]
_STEPS = 100  # of the search for the smallest squared error
_NARROWEST = 0.05  # of the largest value: where that search starts
_STRIDE = 8  # bins between two candidates of the entropy method


def tensor_range(histogram: Histogram, method: str, *, symmetric: bool) -> Range:
    """The range (low, high) to quantize a tensor with; both 0 for one that is always 0.

    It contains 0, which has a code of its own, and is no wider than the values and 0 are.

    Args:
        histogram: Of the tensor's values.
        method: One of `METHODS`.
        symmetric: Whether the 8-bit codes are spread evenly on both sides of zero (TensorRT),
            so that values of one sign have 127 steps, or over the range itself (255 steps).
    """
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if histogram.total == 0 or low == high:
        return 0.0, 0.0
    found = METHODS[method](histogram, symmetric)
    return max(min(found[0], 0.0), low), min(max(found[1], 0.0), high)


def _min_max(histogram: Histogram, _symmetric: bool) -> Range:
    return histogram.low, histogram.high


def _percentile(percent: float) -> Callable[[Histogram, bool], Range]:
    """Clip the outermost values: half of them on each side, or all above where none is negative."""

    def method(histogram: Histogram, _symmetric: bool) -> Range:
        share = (100.0 - percent) / 100.0
        tail = share * histogram.total * (0.5 if histogram.low < 0 < histogram.high else 1.0)
        counts, edges = histogram.counts, histogram.edges
        above = int(np.searchsorted(np.cumsum(counts[::-1]), tail, side="right"))
        below = int(np.searchsorted(np.cumsum(counts), tail, side="right"))
        return float(edges[below]), float(edges[len(counts) - above])

    return method


def _mse(histogram: Histogram, symmetric: bool) -> Range:
    """The smallest mean squared error of the quantized values."""
    kept = np.flatnonzero(histogram.counts)
    counts = histogram.counts[kept].astype(np.float64)
    centres = ((histogram.edges[:-1] + histogram.edges[1:]) / 2)[kept]
    centres[kept == BINS] = 0.0  # mostly exact zeros, which every range represents
    low, high = histogram.low, histogram.high
    reach = max(-low, high)
    ends = [
        (max(low, -each), min(high, each)) for each in np.geomspace(1, _NARROWEST, _STEPS) * reach
    ]
    errors = [_squared_error(centres, counts, *each, symmetric) for each in ends]
    best = ends[int(np.argmin(errors))]
    return float(best[0]), float(best[1])


def _squared_error(
    values: NDArray[np.float64],
    counts: NDArray[np.float64],
    low: float,
    high: float,
    symmetric: bool,
) -> float:
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        step = max(-low, high) / 127.0
        quantized = np.clip(np.rint(values / step), -128, 127) * step
    else:
        step = (high - low) / 255.0
        zero = np.rint(-low / step)
        quantized = (np.clip(np.rint(values / step) + zero, 0, 255) - zero) * step
    return float((counts * (values - quantized) ** 2).sum())


def _entropy(histogram: Histogram, symmetric: bool) -> Range:
    """The range whose quantized distribution is nearest to the clipped one, by KL divergence.

    S. Migacz, "8-bit Inference with TensorRT", GTC 2017: over magnitudes, with as many levels as
    one side of zero has.
    """
    counts = histogram.counts
    magnitudes = (counts[BINS:] + counts[:BINS][::-1]).astype(np.float64)
    one_sided = histogram.low >= 0
    levels = 256 if one_sided and not symmetric else 128
    magnitudes[0] = magnitudes[1]  # the zeros of an activation would outweigh everything
    last = int(np.flatnonzero(magnitudes)[-1]) + 1 if magnitudes.any() else BINS
    best, smallest = last, np.inf
    for edge in [*range(levels, last, _STRIDE), last]:
        divergence = _divergence(magnitudes, edge, levels)
        if divergence < smallest:
            best, smallest = edge, divergence
    reach = best * histogram.width
    return -reach, reach


def _divergence(magnitudes: NDArray[np.float64], edge: int, levels: int) -> float:
    """KL(clipped || quantized) of the first `edge` bins in `levels` levels."""
    kept = magnitudes[:edge]
    clipped = kept.copy()
    clipped[-1] += magnitudes[edge:].sum()
    level = np.arange(edge) * levels // edge if edge > levels else np.arange(edge)
    filled = kept > 0
    sums = np.bincount(level, kept, minlength=levels)
    bins = np.bincount(level, filled, minlength=levels)
    spread = np.where(filled, (sums / np.maximum(bins, 1))[level], 0.0)
    if not filled.any():
        return float(np.inf)
    p, q = clipped / clipped.sum(), spread / spread.sum()
    both = (p > 0) & (q > 0)
    if (p > 0).sum() > both.sum():  # clipped values where the quantized ones have none
        q = np.where(q > 0, q, 1e-12)
        both = p > 0
    return float((p[both] * np.log(p[both] / q[both])).sum())


METHODS = MappingProxyType(
    {
        "min-max": _min_max,
        "percentile-99.99": _percentile(99.99),
        "percentile-99.9": _percentile(99.9),
        "mse": _mse,
        "entropy": _entropy,
    }
)
