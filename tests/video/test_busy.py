"""What hangs is noticed."""

from __future__ import annotations

import threading

import pytest

from bas_edge.video.busy import Busy
from bas_edge.video.pipeline_stats import stuck


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_step_is_known_until_it_ends() -> None:
    clock = Clock()
    busy = Busy(clock)
    with busy.at("The engine"):
        clock.now = 5.0
        assert busy.longer_than(4.0) == (("The engine", 5.0),)
        assert busy.longer_than(5.0) == ()
    assert busy.longer_than(0.0) == ()


def test_a_step_that_fails_has_ended() -> None:
    busy = Busy(clock := Clock())
    with pytest.raises(OSError, match="full"), busy.at("A sink"):
        raise OSError("full")
    clock.now = 100.0
    assert busy.longer_than(0.0) == ()


def test_threads_are_told_apart() -> None:
    busy = Busy(clock := Clock())
    inside, go = threading.Event(), threading.Event()

    def hang() -> None:
        with busy.at("The sink Csv"):
            inside.set()
            go.wait(30.0)

    thread = threading.Thread(target=hang)
    thread.start()
    assert inside.wait(30.0)
    with busy.at("The engine"):
        clock.now = 31.0
    assert stuck(busy) == ("The sink Csv has not come back for 31 s.",)
    go.set()
    thread.join()
    assert stuck(busy) == ()
