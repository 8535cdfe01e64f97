"""What every measurement has: where it comes from, and its times in percentiles."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

__all__ = ["Provenance", "Ratio", "Timing", "percentile", "ratio_of", "rounded", "timing_of"]


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """When, of which commit, by which command, on what machine (benchmarks/conditions.py)."""

    date: str
    commit: str
    command: str
    conditions: dict[str, Any]


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of a case. Wall-clock milliseconds per call, over all blocks.

    Attributes:
        block_p50_ms: The median of each block, in the order in which they ran.
        stages_ms: Medians of the parts of a call, where the variant reports them.
    """

    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    block_p50_ms: tuple[float, ...]
    stages_ms: dict[str, float] = {}


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """Baseline time over our time: median of the pairs of neighbouring blocks, and its extremes."""

    median: float
    low: float
    high: float


def timing_of(
    blocks_ms: Sequence[Sequence[float]], stages_ms: Iterable[dict[str, float]]
) -> Timing:
    """Percentiles over every call of every block.

    Args:
        blocks_ms: The times of each block's calls.
        stages_ms: Medians of the stages, one dict per block.
    """
    times = sorted(t for block in blocks_ms for t in block)
    stages: dict[str, list[float]] = {}
    for block in stages_ms:
        for name, value in block.items():
            stages.setdefault(name, []).append(value)
    return Timing(
        calls=len(times),
        p50_ms=rounded(statistics.median(times)),
        p90_ms=rounded(percentile(times, 0.90)),
        p99_ms=rounded(percentile(times, 0.99)),
        block_p50_ms=tuple(rounded(statistics.median(block)) for block in blocks_ms),
        stages_ms={name: rounded(statistics.median(values)) for name, values in stages.items()},
    )


def ratio_of(baseline: Timing, ours: Timing) -> Ratio:
    """Baseline over ours, block by block: block i of one ran next to block i of the other."""
    pairs = zip(baseline.block_p50_ms, ours.block_p50_ms, strict=True)
    ratios = [theirs / mine for theirs, mine in pairs]
    return Ratio(
        median=round(statistics.median(ratios), 2),
        low=round(min(ratios), 2),
        high=round(max(ratios), 2),
    )


def percentile(ordered: Sequence[float], q: float) -> float:
    """Linear interpolation between the two nearest of an ordered, non-empty sequence."""
    at = q * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])


def rounded(value: float) -> float:
    """To four significant digits."""
    return float(f"{value:.4g}")
