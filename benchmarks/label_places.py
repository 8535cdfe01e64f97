"""Where to write labels beside points, so that they cover each other and the points least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Box", "place_labels"]

_NEAR, _FAR = 3.0, 16.0  # gaps between a point's rim and its label
_DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))


class Box(NamedTuple):
    """A rectangle; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, wide) * max(0.0, high)

    def distance(self, x: float, y: float) -> float:
        """From a point to the nearest place inside."""
        across = max(self.left - x, 0.0, x - self.right)
        down = max(self.top - y, 0.0, y - self.bottom)
        return math.hypot(across, down)

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    *,
    radius: float,
    inside: Box,
) -> list[Box]:
    """One box a label, decided in order: earlier ones have the better places.

    Args:
        points: Centres (x, y) of the marks, which labels should not cover either.
        sizes: (width, height) of each point's label.
        radius: Of the marks.
        inside: Labels should not leave it.
    """
    marks = [Box(x - radius, y - radius, x + radius, y + radius) for x, y in points]
    placed: list[Box] = []
    for (x, y), (width, height) in zip(points, sizes, strict=True):
        choices = [
            _beside(x, y, width, height, radius + gap, direction)
            for gap in (_NEAR, _FAR)
            for direction in _DIRECTIONS
        ]
        costs = [
            sum(choice.overlap(other) for other in [*placed, *marks])
            + choice.area - choice.overlap(inside)
            for choice in choices
        ]  # fmt: skip
        placed.append(choices[costs.index(min(costs))])
    return placed


def _beside(
    x: float, y: float, width: float, height: float, gap: float, direction: tuple[int, int]
) -> Box:
    """The label's box on one of eight sides of (x, y), `gap` from it."""
    across, down = direction
    reach = gap * (0.75 if across and down else 1.0)
    cx = x + across * (reach + width / 2)
    cy = y + down * (reach + height / 2)
    return Box(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
