"""What a sink does not get is counted, for the stream that it was of."""

from __future__ import annotations

import threading

from scripted_source import until
from stream_results import result

from bas_edge.video.busy import Busy
from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sink_thread import SinkThread


class Held:
    """A sink that waits to be told, and then fails or not."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.error = error

    def write(self, _: FrameResult) -> None:
        self.begun.set()
        assert self.go.wait(20)
        if self.error is not None:
            raise self.error

    def event(self, _: StreamEvent) -> None:
        pass

    def close(self, *, complete: bool) -> None:
        self.complete = complete


def test_results_that_a_slow_sink_misses_are_counted_by_stream() -> None:
    sink = Held()
    thread = SinkThread(sink, depth=2, failed=lambda _: None, busy=Busy())
    for _ in range(2):  # one is being written
        thread.put("door", result())
        assert sink.begun.wait(20)
    for _ in range(5):
        thread.put("door", result())
    thread.put("gate", result())
    assert (thread.missed["door"], thread.missed["gate"]) == (4, 0)
    sink.go.set()
    thread.finish(complete=True)
    assert (sum(thread.missed.values()), sink.complete) == (4, True)


def test_results_after_a_failure_are_missed_too_and_events_are_not() -> None:
    sink, done = Held(OSError("No space left on device")), []
    thread = SinkThread(sink, failed=lambda _: None, busy=Busy())
    thread.put("door", result())  # fails: the sink had it
    assert sink.begun.wait(20)
    thread.put("door", result())  # waits
    sink.go.set()
    until(lambda: thread.error is not None)
    thread.put("door", result(), lambda: done.append(True))
    thread.put("gate", result())
    thread.put("gate", StreamEvent("gate", "ended", 0.0, "at its end"))
    thread.finish(complete=True)
    assert (thread.missed["door"], thread.missed["gate"], done) == (2, 1, [True])
    assert sink.complete is False
