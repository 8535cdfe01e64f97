"""Streams that end early, fail or hang hold up neither a pipeline nor its end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scripted_source import Scripted, stream_of, until
from stub_localizer import StubLocalizer

from bas_edge.video import FrameResult, Pipeline, Stream, StreamEvent, open_source

LONG_S = 60.0  # no test needs it; one that hangs ends here


class Heard:
    """A sink that remembers which frames and states came, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.frames: list[tuple[str, int]] = []
        self.states: list[tuple[str, str]] = []

    def write(self, result: FrameResult) -> None:
        if self.error is not None:
            raise self.error
        self.frames.append((result.stream, result.index))

    def event(self, event: StreamEvent) -> None:
        self.states.append((event.stream, event.state))

    def close(self, *, complete: bool) -> None:
        pass

    def of(self, name: str) -> list[int]:
        return [index for stream, index in self.frames if stream == name]


def a_file(count: int, name: str = "file") -> Stream:
    def frames() -> Iterator[np.ndarray]:
        yield from np.zeros((count, 8, 8, 3), np.uint8)

    return open_source(frames(), name=name)


def raises_at(stream: Stream, state: str) -> None:
    """Let a listener of the stream raise when it comes into this state."""

    def listener(event: StreamEvent) -> None:
        if event.state == state:
            raise LookupError(f"no place for {state}")

    stream.listen(listener)


@pytest.mark.parametrize("count", [0, 2])
def test_a_stream_that_ended_before_it_was_added(count: int) -> None:
    stream, heard = a_file(count), Heard()
    stream.start()
    until(lambda: stream.state == "ended")
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(stream, sinks=[heard])
    pipeline.run(duration_s=LONG_S)
    assert heard.of("file") == list(range(count))
    assert heard.states == [("file", "ended")]


@pytest.mark.parametrize("state", ["running", "ended"])
def test_a_listener_that_raises_ends_its_stream_and_not_the_others(state: str) -> None:
    stream, heard = a_file(3, name="watched"), Heard()
    raises_at(stream, state)
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(stream, sinks=[heard])
    pipeline.add(a_file(20), sinks=[heard])
    pipeline.run(duration_s=LONG_S)
    assert heard.of("file") == list(range(20))
    assert isinstance(stream.error, LookupError)
    assert ("watched", "ended") in heard.states


def test_a_listener_that_raises_at_a_stall_leaves_the_pipeline_running() -> None:
    silent, _ = stream_of(Scripted(0, "stay"), stall_s=0.01, silence_s=60)
    raises_at(silent, "stalled")
    heard = Heard()
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(silent, sinks=[heard])
    pipeline.add(a_file(20), sinks=[heard])
    pipeline.run(duration_s=LONG_S)
    assert heard.of("file") == list(range(20))
    assert isinstance(silent.error, LookupError)
    assert ("camera", "ended") in heard.states


def test_what_a_sink_raises_is_told_without_its_secrets() -> None:
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(a_file(1), sinks=[Heard(OSError("http://me:hunter2@host/x is gone"))])
    stats = pipeline.run(duration_s=LONG_S)
    assert stats.failures == ("Heard: http://***@host/x is gone",)


def test_every_stream_is_told_to_end_before_any_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, float]] = []
    close = Stream.close

    def closed(stream: Stream, wait_s: float) -> None:
        told.append((stream.name, wait_s))
        close(stream, wait_s)

    monkeypatch.setattr(Stream, "close", closed)
    with Pipeline(StubLocalizer()) as pipeline:
        pipeline.add(a_file(1, "one"))
        pipeline.add(a_file(1, "two"))
    assert told == [("one", 0.0), ("two", 0.0), ("one", 1.0), ("two", 1.0)]
