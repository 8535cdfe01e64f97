"""How long something takes, in constant memory however long the video runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOUNDS_MS", "StageTimes", "TimesSummary"]

_SHORTEST_MS = 1e-3
_RATIO = 1.01  # a percentile is within half a per cent of the true value
_BINS = math.ceil(math.log(1e8, _RATIO))  # 1 µs to 100 s
_PARTS, _PART_S = 6, 10.0  # of what is recent: the last 50 to 60 s

# Of the histogram for monitoring: from an engine on a GPU to a stream that hangs.
BOUNDS_MS = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4)
_BOUND_BINS = [round(math.log(bound / _SHORTEST_MS, _RATIO)) - 1 for bound in BOUNDS_MS]


@dataclass(frozen=True, slots=True)
class TimesSummary:
    """Times of the last minute, and how they were distributed since the start.

    Attributes:
        recent_ms: {"p50": …, "p90": …, "p95": …} of the last minute; empty where it had no times.
        at_most: How many since the start were at most as long as each of `BOUNDS_MS`, to 1 %.
        count: How many there were.
        sum_ms: Of all of them.
    """

    recent_ms: dict[str, float]
    at_most: tuple[int, ...]
    count: int
    sum_ms: float


class StageTimes:
    """Histograms of times, in bins that each are one per cent wide. One thread adds.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts = np.zeros(_BINS, np.int64)
        self._sum_ms = 0.0
        # A ring of parts of the last minute, each with the number of the 10 s that it counts.
        self._recent = np.zeros((_PARTS, _BINS), np.int32)
        self._numbers = np.full(_PARTS, -1, np.int64)

    def add(self, time_ms: float) -> None:
        """Count one time; times outside 1 µs to 100 s count as the nearest of these."""
        at = min(int(math.log(max(time_ms, _SHORTEST_MS) / _SHORTEST_MS, _RATIO)), _BINS - 1)
        self._counts[at] += 1
        self._sum_ms += time_ms
        number = int(self._clock() / _PART_S)
        part = number % _PARTS
        if self._numbers[part] != number:
            self._recent[part] = 0
            self._numbers[part] = number
        self._recent[part, at] += 1

    def percentile(self, percent: float) -> float:
        """The time in ms that `percent` of all times do not exceed; 0.0 without any times."""
        return _percentile(np.cumsum(self._counts), percent)

    def summary(self) -> TimesSummary:
        """What it is at this moment; from any thread."""
        number = int(self._clock() / _PART_S)
        recent = np.cumsum(self._recent[self._numbers > number - _PARTS].sum(axis=0))
        whole = np.cumsum(self._counts)
        return TimesSummary(
            recent_ms={f"p{each}": _percentile(recent, each) for each in (50, 90, 95)}
            if recent[-1]
            else {},
            at_most=tuple(int(whole[at]) for at in _BOUND_BINS),
            count=int(whole[-1]),
            sum_ms=self._sum_ms,
        )


def _percentile(cumulative: NDArray[np.int64], percent: float) -> float:
    total = int(cumulative[-1])
    if total == 0:
        return 0.0
    rank = max(1, math.ceil(total * percent / 100))
    at = int(np.searchsorted(cumulative, rank))
    return float(_SHORTEST_MS * _RATIO ** (at + 0.5))
