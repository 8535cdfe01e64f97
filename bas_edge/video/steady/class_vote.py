"""Which class a stream shows, and whether it shows anything, without flicker."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bas_edge.video.steady.smoothing import Smoothing

__all__ = ["ClassVote"]


class ClassVote:
    """Averaged class scores, a label and a `found` that both have hysteresis."""

    def __init__(self, smoothing: Smoothing, min_score: float) -> None:
        self._smoothing = smoothing
        self._min_score = min_score
        self._low_s = 0.0  # for how long the score has been too low, or the maps empty
        self.scores = np.zeros(0, np.float32)  # [C]
        self.label = 0
        self.found = False

    def start(self, scores: NDArray[np.float32], found: bool) -> None:
        """The first frame, or the first in which something is found again: it counts alone."""
        self.scores = scores
        self.label = int(scores.argmax())
        self.found = found
        self._low_s = 0.0

    def step(
        self, scores: NDArray[np.float32], found: bool, dt_s: float, *, empty: bool = False
    ) -> None:
        """The next frame, `dt_s` after the last.

        Args:
            scores: [C], its own.
            found: Whether something is found in it alone.
            dt_s: In seconds.
            empty: Whether its map shows nothing at all, whatever the score is.
        """
        weight = new_weight(self._smoothing.class_time_s, dt_s)
        self.scores = self.scores + np.float32(weight) * (scores - self.scores)
        best = int(self.scores.argmax())
        if self.scores[best] > self.scores[self.label] + self._smoothing.class_margin:
            self.label = best
        low = empty or self.scores[self.label] < self._smoothing.release * self._min_score
        self._low_s = self._low_s + dt_s if low and not found else 0.0
        if self._low_s > self._smoothing.hold_s:
            self.found = False


def new_weight(time_s: float, dt_s: float) -> float:
    """Of the new value in an exponential average with this time constant."""
    return 1.0 if time_s == 0 else -math.expm1(-dt_s / time_s)
