"""What a tensor's values look like over many images, in a few kilobytes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Histogram", "TensorStatistics"]

BINS = 2048  # on each side of zero
_EXPONENTS = (-148, 128)  # of the power of two above any float32 but 0
_EXACT = range(-100, 12)  # where a float32, divided by a bin's width, is a float32


class Histogram:
    """Counts of values in bins of one width on both sides of zero.

    The outermost edge is a power of two, and when a value lies beyond it, pairs of bins become
    one: so the result does not depend on the order or the batches in which values arrive.

    Attributes:
        low, high: The smallest and largest value; 0 where there was none.
        total: How many values there were.
    """

    def __init__(self) -> None:
        self.low = 0.0
        self.high = 0.0
        self.total = 0
        self._exponent = 0  # bins reach to 2 ** exponent
        self._counts = np.zeros(2 * BINS, np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count finite values of any shape.

        Raises:
            ValueError: A value is NaN or infinite.
        """
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("a value is not finite")
        largest = max(-low, high)
        exponent = math.frexp(largest)[1]  # largest < 2 ** exponent
        if not self._counts.any() or (self.low == self.high == 0 and largest > 0):
            self._start(exponent)
        while largest and exponent > self._exponent:
            self._widen()
        self.low = low if self.total == 0 else min(self.low, low)
        self.high = high if self.total == 0 else max(self.high, high)
        self.total += values.size
        exact = self._exponent in _EXACT
        kind: type[np.floating[Any]] = np.float32 if exact else np.float64
        scaled = values.ravel().astype(kind, copy=False) * kind(1.0 / self.width)
        at = np.floor(scaled, out=scaled).astype(np.int32) + BINS
        self._counts += np.bincount(at, minlength=2 * BINS)

    @property
    def width(self) -> float:
        """Of one bin."""
        return float(2.0**self._exponent / BINS)

    @property
    def edges(self) -> NDArray[np.float64]:
        """[2 * BINS + 1], ascending; bin i holds values from edge i up to edge i + 1."""
        return np.linspace(-BINS * self.width, BINS * self.width, 2 * BINS + 1)

    @property
    def counts(self) -> NDArray[np.int64]:
        """[2 * BINS], in the order of `edges`."""
        return self._counts.copy()

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` takes."""
        facts = np.array([self.low, self.high, self.total, self._exponent], np.float64)
        return {"facts": facts, "counts": self.counts}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Histogram:
        """The histogram that `to_arrays` wrote.

        Raises:
            ValueError: These are not its arrays.
        """
        facts, counts = arrays["facts"], arrays["counts"]
        if facts.shape != (4,) or facts.dtype != np.float64 or not np.isfinite(facts).all():
            raise ValueError("not the facts of a histogram")
        if counts.shape != (2 * BINS,) or counts.dtype != np.int64 or (counts < 0).any():
            raise ValueError("not the counts of a histogram")
        made = cls()
        made.low, made.high = float(facts[0]), float(facts[1])
        made.total, made._exponent = int(facts[2]), int(facts[3])
        made._counts = counts.copy()
        least, most = _EXPONENTS
        reach = max(-made.low, made.high)
        expected = math.frexp(reach)[1]  # 0 for a reach of 0
        if made.total != counts.sum() or not least <= made._exponent <= most:
            raise ValueError("a histogram whose counts are not its total")
        if made.low > made.high or expected != made._exponent:
            raise ValueError("a histogram whose bins do not end at its values")
        return made

    def _start(self, exponent: int) -> None:
        """Set the edge before anything but zeros was counted."""
        zeros = int(self._counts.sum())
        self._exponent = exponent
        self._counts[:] = 0
        self._counts[BINS] = zeros

    def _widen(self) -> None:
        below, above = self._counts[:BINS][::-1], self._counts[BINS:]
        halved = np.zeros_like(self._counts)
        halved[BINS : BINS + BINS // 2] = above.reshape(-1, 2).sum(axis=1)
        halved[BINS // 2 : BINS][::-1] = below.reshape(-1, 2).sum(axis=1)
        self._counts = halved
        self._exponent += 1


@dataclass(slots=True)
class TensorStatistics:
    """One tensor [N, C, ...] over all images.

    Attributes:
        histogram: Of all its values.
        largest: [C] float64, the largest magnitude of each channel.
        total: [C] float64, the sum of each channel's values.
        count: How many values each channel had.
    """

    histogram: Histogram = field(default_factory=Histogram)
    largest: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    total: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    count: int = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count a batch [N, C, ...].

        Raises:
            ValueError: A value is NaN or infinite.
        """
        if values.size == 0:
            return
        self.histogram.add(values)
        channels = values.shape[1]
        rows = values.reshape(values.shape[0], channels, -1)  # [N, C, P]
        if not self.count:
            self.largest, self.total = np.zeros(channels), np.zeros(channels)
        high, low = rows.max(axis=(0, 2)), rows.min(axis=(0, 2))
        np.maximum(self.largest, np.maximum(high, -low), out=self.largest)
        self.total += rows.sum(axis=2, dtype=np.float32).sum(axis=0, dtype=np.float64)
        self.count += rows.shape[0] * rows.shape[2]

    @property
    def mean(self) -> NDArray[np.float64]:
        """[C] float64."""
        return self.total / max(self.count, 1)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` takes."""
        return {
            **self.histogram.to_arrays(),
            "largest": self.largest,
            "total": self.total,
            "count": np.array(self.count, np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> TensorStatistics:
        """The statistics that `to_arrays` wrote.

        Raises:
            ValueError, KeyError: These are not its arrays.
        """
        largest, total, count = arrays["largest"], arrays["total"], arrays["count"]
        channels = (largest.size,)
        if any(each.shape != channels or each.dtype != np.float64 for each in (largest, total)):
            raise ValueError("not the channels of a tensor")
        if not (np.isfinite(total).all() and (largest >= 0).all() and np.isfinite(largest).all()):
            raise ValueError("channels that no tensor has")
        histogram = Histogram.from_arrays(arrays)
        if count.shape != () or int(count) * largest.size != histogram.total:
            raise ValueError("channels of another histogram")
        return cls(histogram, largest.copy(), total.copy(), int(count))
