"""Polygons and boxes: against counted points, and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bas_edge.errors import InputError
from bas_edge.video.sinks.zones import Polygon, check_polygon, holds_point, share_inside

WHOLE: Polygon = ((0, 0), (1, 0), (1, 1), (0, 1))
ARROW: Polygon = ((0.1, 0.1), (0.9, 0.5), (0.1, 0.9), (0.4, 0.5))  # not convex
TEETH = ((0.7, 0.9), (0.7, 0.3), (0.3, 0.3), (0.3, 0.9))
COMB: Polygon = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), *TEETH, (0.1, 0.9))
UNIT = st.floats(0, 1)


@st.composite
def stars(draw: st.DrawFn) -> Polygon:
    """Polygons around a point, convex or not, whose sides never cross."""
    count = draw(st.integers(3, 9))
    radii = draw(st.lists(st.floats(0.05, 0.5), min_size=count, max_size=count))
    turn = draw(st.sampled_from((1, -1)))
    return tuple(
        (
            0.5 + r * math.cos(turn * at * math.tau / count),
            0.5 + r * math.sin(turn * at * math.tau / count),
        )
        for at, r in enumerate(radii)
    )


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    x0, x1 = sorted((draw(UNIT), draw(UNIT)))
    y0, y1 = sorted((draw(UNIT), draw(UNIT)))
    assume(x1 - x0 > 0.02)
    assume(y1 - y0 > 0.02)
    return x0, y0, x1, y1


def counted(polygon: Polygon, box: tuple[float, float, float, float], side: int = 60) -> float:
    """The part of a grid of points whose way to the left crosses the outline an odd time."""
    xs = box[0] + (np.arange(side) + 0.5) / side * (box[2] - box[0])
    ys = (box[1] + (np.arange(side) + 0.5) / side * (box[3] - box[1]))[:, None]
    inside = np.zeros((side, side), np.bool_)
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if y0 != y1:
            inside ^= ((y0 <= ys) != (y1 <= ys)) & (xs >= x0 + (ys - y0) / (y1 - y0) * (x1 - x0))
    for row, column in ((5, 7), (30, 30), (50, 20)):
        assert holds_point(polygon, (xs[column], ys[row, 0])) == inside[row, column]
    return float(inside.mean())


@given(polygon=stars(), box=boxes())
@example(polygon=ARROW, box=(0.0, 0.0, 1.0, 1.0))
@example(polygon=ARROW, box=(0.0, 0.0, 0.3, 1.0))  # cut into two parts
@example(polygon=COMB, box=(0.0, 0.5, 1.0, 1.0))  # two teeth
@example(polygon=COMB, box=(0.4, 0.5, 0.6, 0.8))  # between them
def test_the_share_is_that_of_counted_points(
    polygon: Polygon, box: tuple[float, float, float, float]
) -> None:
    check_polygon(polygon)
    # Of 60 rows and columns each side of the polygon crosses at most 120 cells, half wrong.
    assert share_inside(polygon, box) == pytest.approx(counted(polygon, box), abs=0.06)


@given(polygon=stars(), box=boxes(), part=st.floats(0.1, 0.9))
def test_the_shares_of_two_halves_make_the_whole(
    polygon: Polygon, box: tuple[float, float, float, float], part: float
) -> None:
    x0, y0, x1, y1 = box
    middle = x0 + part * (x1 - x0)
    halves = part * share_inside(polygon, (x0, y0, middle, y1)) + (1 - part) * share_inside(
        polygon, (middle, y0, x1, y1)
    )
    assert halves == pytest.approx(share_inside(polygon, box), abs=1e-9)


@given(box=boxes())
def test_the_whole_frame_holds_every_box(box: tuple[float, float, float, float]) -> None:
    assert share_inside(WHOLE, box) == pytest.approx(1)
    assert holds_point(WHOLE, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))


@given(point=st.tuples(UNIT, UNIT))
def test_zones_side_by_side_share_no_point(point: tuple[float, float]) -> None:
    left: Polygon = ((0, 0), (0.5, 0), (0.5, 1), (0, 1))
    right: Polygon = ((0.5, 0), (1, 0), (1, 1), (0.5, 1))
    inside = holds_point(left, point) + holds_point(right, point)
    assert inside == (point[0] < 1 and point[1] < 1)


@pytest.mark.parametrize("box", [(0.5, 0.5, 0.5, 0.9), (0.6, 0.5, 0.4, 0.9), (0.5, 0.5, 0.5, 0.5)])
def test_a_box_without_area_has_no_share(box: tuple[float, float, float, float]) -> None:
    assert share_inside(WHOLE, box) == 0


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        (((0, 0), (1, 1)), "has 2 corners"),
        (((0, 0), (640, 0), (1, 1)), r"corner \(640, 0\)"),
        (((0, 0), (math.nan, 0), (1, 1)), "corner"),
        (((0, 0), (0.5, 0.5), (1, 1)), "has no area"),
        (((0, 0), (1, 0), (0.2, 1), (1, 1)), "of a zone cross"),
    ],
)
def test_what_is_no_zone(polygon: Polygon, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_polygon(polygon)
