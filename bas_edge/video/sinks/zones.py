"""Polygons in the picture, and how much of a box lies inside one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from bas_edge.errors import InputError

__all__ = ["Polygon", "check_polygon", "holds_point", "share_inside"]

Point = tuple[float, float]
Polygon = tuple[Point, ...]  # corners in order, either way round, as parts of width and height


def check_polygon(polygon: Polygon) -> None:
    """Refuse what is no area of a picture.

    Raises:
        InputError: Fewer than three corners, one outside 0 to 1, no area, or sides that cross.
    """
    if len(polygon) < 3:
        raise InputError(
            f"A zone has {len(polygon)} corners, and needs at least 3.",
            hint="The corners (0, 0.5), (1, 0.5), (1, 1) and (0, 1) are the lower half.",
        )
    for corner in polygon:
        if len(corner) != 2 or not all(0 <= value <= 1 for value in corner):
            raise InputError(
                f"The corner {corner} of a zone is not (x, y) between 0 and 1.",
                hint="Divide pixels by the width and height of the frame.",
            )
    if math.isclose(_signed_area(polygon), 0.0, abs_tol=1e-9):
        raise InputError(f"The zone {polygon} has no area.", hint="Give its corners in order.")
    sides = list(zip(polygon, polygon[1:] + polygon[:1], strict=True))
    for (a, b), (c, d) in itertools.combinations(sides, 2):
        if _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0:
            raise InputError(
                f"The sides {a} to {b} and {c} to {d} of a zone cross.",
                hint="Give the corners in order, one way round.",
            )


def holds_point(polygon: Polygon, point: Point) -> bool:
    """Whether `point` is inside; of the outline, upper and left parts are."""
    x, y = point
    inside = False
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if (y0 <= y) != (y1 <= y) and x >= x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            inside = not inside
    return inside


def share_inside(polygon: Polygon, box: tuple[float, float, float, float]) -> float:
    """The part of the box's area, 0 to 1, that lies inside; `box` is (x0, y0, x1, y1).

    Box and polygon are in the same units. A box without area has no part inside.
    """
    x0, y0, x1, y1 = box
    area = (x1 - x0) * (y1 - y0)
    if x1 <= x0 or y1 <= y0 or area <= 0:
        return 0.0
    left: list[Point] = list(polygon)
    # Cut away what lies beyond each side of the box. Where that parts the polygon in two, seams of
    # no area remain between them.
    for axis, edge, sign in ((0, x0, 1), (0, x1, -1), (1, y0, 1), (1, y1, -1)):
        left = _cut(left, axis, edge, sign)
    return min(1.0, abs(_signed_area(left)) / area)


def _cut(polygon: Sequence[Point], axis: int, edge: float, sign: int) -> list[Point]:
    """What is left where sign * (coordinate - edge) is not negative."""
    kept: list[Point] = []
    for at, corner in enumerate(polygon):
        before = polygon[at - 1]
        depth, depth_before = sign * (corner[axis] - edge), sign * (before[axis] - edge)
        if (depth < 0) != (depth_before < 0):
            part = depth_before / (depth_before - depth)
            crossing = [before[i] + part * (corner[i] - before[i]) for i in (0, 1)]
            crossing[axis] = edge
            kept.append((crossing[0], crossing[1]))
        if depth >= 0:
            kept.append(corner)
    return kept


def _signed_area(polygon: Sequence[Point]) -> float:
    if len(polygon) < 3:
        return 0.0
    following = (*polygon[1:], polygon[0])
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(polygon, following, strict=True)) / 2


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
