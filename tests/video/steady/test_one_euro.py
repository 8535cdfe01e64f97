"""The One-Euro filter on boxes: at rest, in motion, and never out of the frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bas_edge.results import Box
from bas_edge.video.steady.one_euro import BoxFilter, OneEuro

SIZE = (480, 640)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0 = draw(st.floats(0, 630))
    y0 = draw(st.floats(0, 470))
    x1 = draw(st.floats(x0 + 1, 640))
    return (x0, y0, x1, draw(st.floats(y0 + 1, 480)))


STEPS = st.lists(st.tuples(boxes(), st.floats(1e-3, 2)), min_size=1, max_size=20)


@given(steps=STEPS, min_cutoff_hz=st.floats(0.01, 20), beta=st.floats(0, 100))
def test_a_box_stays_a_box_inside_the_frame(
    steps: list[tuple[Box, float]], min_cutoff_hz: float, beta: float
) -> None:
    filtered = BoxFilter(min_cutoff_hz, beta, SIZE)
    for box, dt_s in steps:
        x0, y0, x1, y1 = filtered.step(box, dt_s)
        assert 0 <= x0 < x1 <= 640
        assert 0 <= y0 < y1 <= 480


@given(box=boxes(), dts=st.lists(st.floats(1e-3, 2), min_size=1, max_size=10))
def test_a_box_at_rest_stays_where_it_is(box: Box, dts: list[float]) -> None:
    filtered = BoxFilter(1.0, 5.0, SIZE)
    for dt_s in dts:
        assert filtered.step(box, dt_s) == pytest.approx(box, abs=1e-6)


@given(
    values=st.lists(st.floats(-100, 100), min_size=1, max_size=30),
    beta=st.floats(0, 10),
    dt_s=st.floats(1e-3, 1),
)
def test_a_value_never_leaves_the_range_of_its_input(
    values: list[float], beta: float, dt_s: float
) -> None:
    one_euro = OneEuro(1.0, beta)
    for value in values:
        out = float(one_euro.step(np.array([value]), dt_s)[0])
        assert min(values) - 1e-9 <= out <= max(values) + 1e-9


def test_the_arithmetic_is_that_of_the_paper() -> None:
    one_euro = OneEuro(min_cutoff_hz=1.0, beta=0.5)
    assert one_euro.step(np.array([0.0]), 0.1) == 0
    # speed 10, its low pass at 1 Hz: r = 2π · 0.1, weight r / (r + 1)
    r = 2 * np.pi * 0.1
    speed = r / (r + 1) * 10
    r = 2 * np.pi * (1 + 0.5 * speed) * 0.1
    assert one_euro.step(np.array([1.0]), 0.1)[0] == pytest.approx(r / (r + 1))


def test_noise_shrinks_and_motion_is_followed() -> None:
    noise = np.random.default_rng(0).normal(0, 2, (200, 4))
    rest = [(100 + a, 100 + b, 300 + c, 250 + d) for a, b, c, d in noise]
    filtered = BoxFilter(1.0, 5.0, SIZE)
    out = np.array([filtered.step(box, 1 / 30) for box in rest])
    assert np.diff(out, axis=0).std() < 0.3 * np.diff(rest, axis=0).std()
    moving = [(10.0 + 8 * at, 100.0, 90.0 + 8 * at, 180.0) for at in range(60)]
    lags = []
    for beta in (0.0, 50.0):
        filtered = BoxFilter(1.0, beta, SIZE)
        lags.append([box[0] - filtered.step(box, 1 / 30)[0] for box in moving][-1])
    assert lags[0] > 30
    assert 0 < lags[1] < 10


def test_another_object_is_taken_as_it_is() -> None:
    filtered = BoxFilter(0.1, 0.0, SIZE)
    filtered.step((0.0, 0.0, 100.0, 100.0), 0.1)
    there = (300.0, 300.0, 400.0, 400.0)
    assert filtered.step(there, 0.1) == pytest.approx(there)
    near = (320.0, 300.0, 420.0, 400.0)
    assert filtered.step(near, 0.1)[0] < 305


def test_it_moves_with_the_camera() -> None:
    filtered = BoxFilter(0.1, 0.0, SIZE)
    filtered.step((100.0, 100.0, 200.0, 200.0), 0.1)
    filtered.move(down=0.125, right=0.25)  # of 480 and 640
    assert filtered.step((260.0, 160.0, 360.0, 260.0), 0.1) == pytest.approx((260, 160, 360, 260))


def test_a_pan_by_more_than_the_box_is_no_other_object() -> None:
    filtered = BoxFilter(0.3, 0.0, SIZE)
    noise = np.random.default_rng(0).normal(0, 2, 16)
    errors = []
    for index, off in enumerate(noise):
        if index:
            filtered.move(down=0.0, right=30 / 640)
        x0 = 100.0 + 30 * index
        out = filtered.step((x0 + off, 200.0, x0 + 20 + off, 220.0), 1 / 25)
        errors.append(out[0] - x0)
    assert np.diff(errors).std() < 0.2 * np.diff(noise).std()
