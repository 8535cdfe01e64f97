"""Ctrl-C while a pipeline is being closed, for programs without `asked_to_end`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from stub_localizer import StubLocalizer

from bas_edge.signals import asked_to_end
from bas_edge.video import FrameResult, Pipeline, StreamEvent, open_source

LONG_S = 60.0  # no test needs it; one that hangs ends here


class Closing:
    """A sink that has something to do while it is closed."""

    def __init__(self, work: threading.Event | None = None, *, interrupt: bool = False) -> None:
        self.results: list[FrameResult] = []
        self.finished: bool | None = None
        self._work, self._interrupt = work, interrupt

    def write(self, result: FrameResult) -> None:
        self.results.append(result)

    def event(self, event: StreamEvent) -> None:
        pass

    def close(self, *, complete: bool) -> None:
        if self._interrupt:  # to this thread, so that nothing wakes the main thread from its wait
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        if self._work is not None:
            assert self._work.wait(LONG_S)
        self.finished = complete


@pytest.fixture
def interrupted() -> Iterator[threading.Event]:
    """Set when Ctrl-C has come through to the main thread as KeyboardInterrupt."""
    came = threading.Event()

    def handle(*_: object) -> None:
        came.set()
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGINT, handle)
    yield came
    signal.signal(signal.SIGINT, former)


def frames(count: int) -> Iterator[np.ndarray]:
    for number in range(count):
        yield np.full((8, 8, 3), number, np.uint8)


def test_an_interrupt_in_the_middle_of_closing_leaves_no_sink_open(
    interrupted: threading.Event,
) -> None:
    first, second = Closing(interrupted, interrupt=True), Closing()

    def run() -> None:
        with Pipeline(StubLocalizer()) as pipeline:
            pipeline.add(open_source(frames(3), name="file", policy="wait"), sinks=[first, second])
            pipeline.run()

    with pytest.raises(KeyboardInterrupt):
        run()
    assert (first.finished, second.finished) == (True, True)
    assert len(first.results) == len(second.results) == 3


def test_asked_to_end_needs_no_more_than_stop(interrupted: threading.Event) -> None:
    class Asking(Closing):
        def write(self, result: FrameResult) -> None:
            super().write(result)
            if len(self.results) == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    def endless() -> Iterator[np.ndarray]:
        while True:
            yield from frames(200)

    sink = Asking(interrupt=True)
    with Pipeline(StubLocalizer()) as pipeline, asked_to_end(pipeline.stop):
        pipeline.add(open_source(endless(), name="program", policy="wait"), sinks=[sink])
        stats = pipeline.run()
    assert sink.finished is False  # the frames had no end
    assert len(sink.results) == stats.results >= 2
    assert not interrupted.is_set()
