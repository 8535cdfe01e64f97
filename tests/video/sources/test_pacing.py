"""Which frames are delivered, and that their times always grow."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bas_edge.errors import InputError
from bas_edge.video.sources import pacing
from bas_edge.video.sources.capture import ArrayPicture
from bas_edge.video.sources.pacing import Pacing, StreamOptions

PIXELS = np.zeros((2, 2, 3), np.uint8)


class Clock:
    """In place of the module `time`: monotonic() is what a test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1e9 + self.now


def place(
    pace: Pacing, index: int, time_s: float | None, fps: float | None = 25.0
) -> tuple[float, float] | None:
    picture = ArrayPicture(PIXELS, time_s, captured_at=1e9)
    return pace.place(index, picture, fps, threading.Event())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pacing, "time", made)
    return made


TIMES = st.one_of(
    st.none(), st.floats(-1e6, 1e6), st.floats(0, 5), st.integers(0, 40).map(lambda n: n / 25)
)


@given(
    times=st.lists(TIMES, max_size=40),
    breaks=st.sets(st.integers(0, 39)),
    fps=st.sampled_from([None, 1.0, 25.0, 1000.0]),
    live=st.booleans(),
)
@example(times=[0.0, 3600.0, 0.04, 0.08], breaks=set(), fps=25.0, live=True)
def test_times_grow_whatever_the_clock_of_the_source_does(
    times: list[float | None], breaks: set[int], fps: float | None, live: bool
) -> None:
    pace = Pacing(StreamOptions(), live=live)
    last_s = -1.0
    for index, time_s in enumerate(times):
        if index in breaks:
            pace.connected()
        placed = place(pace, index, time_s, fps)
        assert placed is not None
        assert placed[0] > last_s
        last_s = placed[0]


def test_a_clock_that_is_set_moves_time_neither_on_nor_back(clock: Clock) -> None:
    pace = Pacing(StreamOptions(), live=True)
    seen = []
    for index in range(100):
        clock.now += 0.04
        set_by_s = 3600.0 if 20 <= index < 40 else -50.0 if index >= 60 else 0.0
        placed = place(pace, index, index * 0.04 + set_by_s)
        assert placed is not None
        seen.append(placed[0])
    np.testing.assert_allclose(np.diff(seen), 0.04, atol=1e-6)


def test_time_goes_on_by_the_clock_over_a_reconnect(clock: Clock) -> None:
    pace = Pacing(StreamOptions(), live=True)
    first = place(pace, 0, 0.0)
    clock.now += 7.5
    pace.connected()
    second = place(pace, 1, 0.0)
    assert first is not None
    assert second is not None
    assert (first[0], second[0]) == (0.0, 7.5)


def test_a_file_that_begins_again_goes_on_by_one_frame(clock: Clock) -> None:
    pace = Pacing(StreamOptions(loop=True), live=False)
    seen = []
    for lap in range(2):
        pace.connected()
        placed = [place(pace, 3 * lap + n, n / 25) for n in range(3)]
        seen += [one[0] for one in placed if one is not None]
    assert seen == pytest.approx([n / 25 for n in range(6)])


@pytest.mark.parametrize("back_s", [0.12, 0.76, 3600.0])
def test_a_file_put_together_of_two_goes_on_by_one_frame(back_s: float) -> None:
    pace = Pacing(StreamOptions(), live=False)
    first = [4000.0 + n / 25 for n in range(20)]
    second = [first[-1] - back_s + n / 25 for n in range(20)]
    placed = [place(pace, index, time_s) for index, time_s in enumerate(first + second)]
    seen = [one[0] for one in placed if one is not None]
    np.testing.assert_allclose(np.diff(seen), 0.04, atol=1e-6)


def test_a_frame_that_stands_a_little_too_early_moves_no_other(clock: Clock) -> None:
    pace = Pacing(StreamOptions(), live=False)
    placed = [place(pace, index, time_s) for index, time_s in enumerate([0.0, 0.08, 0.04, 0.12])]
    assert [one[0] for one in placed if one is not None] == pytest.approx([0.0, 0.08, 0.081, 0.12])


@pytest.mark.parametrize(
    ("fps", "limit", "expected"),
    [
        (30.0, 10.0, 100),
        (30.0, 20.0, 200),
        (30.0, 25.0, 250),
        (25.0, 12.5, 125),
        (30.0, 7.0, 70),
        (5.0, 25.0, 50),
        (30.0, 30.0, 300),
    ],
)
def test_max_fps_holds_the_rate_exactly(fps: float, limit: float, expected: int) -> None:
    """Of ten seconds; the times are rounded to milliseconds, as containers do."""
    pace = Pacing(StreamOptions(max_fps=limit), live=False)
    count = round(10 * fps)
    delivered = [place(pace, n, round(n / fps, 3), fps) for n in range(count)]
    assert abs(sum(one is not None for one in delivered) - expected) <= 1


@given(
    steps_s=st.lists(st.floats(0.001, 2), max_size=80),
    limit=st.floats(0.5, 50),
    fps=st.sampled_from([None, 5.0, 25.0, 100.0]),
)
def test_never_many_more_than_max_fps(
    steps_s: list[float], limit: float, fps: float | None
) -> None:
    """Over any run of n seconds at most max_fps·n + 2.1.

    One for the frame that the run begins with, 2·0.55 as frames may come early and late by that
    part of an interval: without it 30 frames a second could not be thinned out to 20.
    """
    pace = Pacing(StreamOptions(max_fps=limit), live=False)
    time_s, delivered = 0.0, []
    for index, step_s in enumerate(steps_s):
        if (placed := place(pace, index, time_s, fps)) is not None:
            delivered.append(placed[0])
        time_s += step_s
    for at, began_s in enumerate(delivered):
        for count, ended_s in enumerate(delivered[at:], 1):
            assert count <= limit * (ended_s - began_s) + 2.1 + 1e-6


def test_stride_counts_frames_of_the_source() -> None:
    pace = Pacing(StreamOptions(stride=3), live=False)
    delivered = [place(pace, n, n / 25) is not None for n in range(10)]
    assert [n for n, there in enumerate(delivered) if there] == [0, 3, 6, 9]


def test_a_file_that_cannot_be_read_so_fast_is_late_but_not_for_ever(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pacing(StreamOptions(policy="newest", realtime=True), live=False)
    place(pace, 0, 0.0)
    clock.now += 0.5  # half a second of work for a frame of 40 ms
    late = place(pace, 1, 0.04)
    assert late == pytest.approx((0.04, clock.time() - 0.46))
    clock.now += 60.0  # the machine slept
    assert place(pace, 2, 0.08) == pytest.approx((0.08, clock.time()))


def test_the_rate_is_that_of_the_last_second(clock: Clock) -> None:
    pace = Pacing(StreamOptions(), live=True)
    assert pace.rate() == 0.0
    for index in range(50):
        clock.now += 0.1
        place(pace, index, index / 10)
    assert pace.rate() == pytest.approx(10.0)
    clock.now += 100.0
    assert pace.rate() < 1.0


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "latest"},
        {"stride": 0},
        {"depth": 0},
        {"depth": 1001},
        {"max_fps": 0.0},
        {"max_fps": float("nan")},
        {"max_fps": float("inf")},
        {"stall_s": 0.0},
        {"stall_s": 20.0},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(options))} is .*but"):
        StreamOptions(**options)
