"""The One-Euro filter, and boxes filtered with it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bas_edge.results import Box

__all__ = ["BoxFilter", "OneEuro"]

_SPEED_CUTOFF_HZ = 1.0  # of the speed's own low pass; Casiez et al. recommend it
_SMALLEST_PX = 1e-3  # of a side whose logarithm is taken


class OneEuro:
    """Low pass whose cutoff rises with speed: steady at rest, without lag in motion.

    Casiez, Roussel, Vogel: "1€ Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
    Interactive Systems", CHI 2012. Here on several values, each with its own speed.
    """

    def __init__(self, min_cutoff_hz: float, beta: float) -> None:
        """`min_cutoff_hz` at rest; `beta` Hz more for each unit a second."""
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._value: NDArray[np.float64] | None = None
        self._speed = np.zeros(0)

    def step(self, value: NDArray[np.float64], dt_s: float) -> NDArray[np.float64]:
        """The next value [n], `dt_s` > 0 after the one before; the first comes back as it is."""
        if self._value is None:
            self._value, self._speed = value, np.zeros_like(value)
            return value
        speed = (value - self._value) / dt_s
        self._speed = self._speed + _weight(_SPEED_CUTOFF_HZ, dt_s) * (speed - self._speed)
        cutoff_hz = self._min_cutoff_hz + self._beta * np.abs(self._speed)
        self._value = self._value + _weight(cutoff_hz, dt_s) * (value - self._value)
        return self._value

    def move(self, by: NDArray[np.float64]) -> None:
        """Add to the value that it holds; the speed is another's, so it stays."""
        if self._value is not None:
            self._value = self._value + by


class BoxFilter:
    """One-Euro on the centre of a box and the logarithm of its sides.

    Both in units that do not depend on the frame: the centre in frame widths and heights, the
    sides in ratios. A box that does not touch the one before is another object: it is taken as
    it is.
    """

    def __init__(self, min_cutoff_hz: float, beta: float, frame_size: tuple[int, int]) -> None:
        self._options = (min_cutoff_hz, beta)
        self._height, self._width = frame_size
        self._filter = OneEuro(min_cutoff_hz, beta)
        self._last: Box | None = None

    def step(self, box: Box, dt_s: float) -> Box:
        """The next box, `dt_s` > 0 seconds after the one before → filtered, inside the frame."""
        if self._last is None or not _touch(self._last, box):
            self._filter = OneEuro(*self._options)
            self._filter.step(self._values(box), dt_s)
            self._last = box
        else:
            self._last = self._box(self._filter.step(self._values(box), dt_s))
        return self._last

    def move(self, down: float, right: float) -> None:
        """The camera moved the picture by these fractions of the frame."""
        self._filter.move(np.array([right, down, 0.0, 0.0]))
        if self._last is not None:  # it is compared with the next one, which has moved
            x, y = right * self._width, down * self._height
            x0, y0, x1, y1 = self._last
            self._last = (x0 + x, y0 + y, x1 + x, y1 + y)

    def _values(self, box: Box) -> NDArray[np.float64]:
        x0, y0, x1, y1 = box
        sides = (max(x1 - x0, _SMALLEST_PX), max(y1 - y0, _SMALLEST_PX))
        centre = ((x0 + x1) / 2 / self._width, (y0 + y1) / 2 / self._height)
        return np.array([*centre, math.log(sides[0]), math.log(sides[1])])

    def _box(self, values: NDArray[np.float64]) -> Box:
        x, y = float(values[0]) * self._width, float(values[1]) * self._height
        half_x, half_y = math.exp(values[2]) / 2, math.exp(values[3]) / 2
        x0, x1 = _inside(x - half_x, x + half_x, self._width)
        y0, y1 = _inside(y - half_y, y + half_y, self._height)
        return (x0, y0, x1, y1)


def _weight(cutoff_hz: float | NDArray[np.float64], dt_s: float) -> float | NDArray[np.float64]:
    """Of the new value in a first-order low pass."""
    turns = 2 * math.pi * cutoff_hz * dt_s
    return turns / (turns + 1)


def _touch(first: Box, second: Box) -> bool:
    apart_x = first[0] >= second[2] or second[0] >= first[2]
    return not (apart_x or first[1] >= second[3] or second[1] >= first[3])


def _inside(low: float, high: float, size: int) -> tuple[float, float]:
    """Clipped to 0…size; what lies outside altogether becomes the nearest pixel."""
    low = min(max(low, 0.0), size - 1.0)
    return low, max(min(high, float(size)), low + _SMALLEST_PX)
