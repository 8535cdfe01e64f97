"""Percentiles of times, in constant memory however long the video runs."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["StageTimes"]

_SHORTEST_MS = 1e-3
_RATIO = 1.01  # a percentile is within half a per cent of the true value
_BINS = math.ceil(math.log(1e8, _RATIO))  # 1 µs to 100 s


class StageTimes:
    """A histogram of times in bins that each are one per cent wide."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, time_ms: float) -> None:
        """Count one time; times outside 1 µs to 100 s count as the nearest of these."""
        at = math.log(max(time_ms, _SHORTEST_MS) / _SHORTEST_MS, _RATIO)
        self._counts[min(int(at), _BINS - 1)] += 1

    def percentile(self, percent: float) -> float:
        """The time in ms that `percent` of the times do not exceed; 0.0 without any times."""
        total = int(self._counts.sum())
        if total == 0:
            return 0.0
        rank = max(1, math.ceil(total * percent / 100))
        at = int(np.searchsorted(np.cumsum(self._counts), rank))
        return float(_SHORTEST_MS * _RATIO ** (at + 0.5))
