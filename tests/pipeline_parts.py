"""Streams, sinks and a clean end: what tests of pipelines share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scripted_source import until
from stub_localizer import StubLocalizer

from bas_edge.results import Localization
from bas_edge.video import (
    EventRule,
    FrameResult,
    Pipeline,
    PipelineStats,
    Stream,
    StreamEvent,
    VideoFrame,
    open_source,
)
from bas_edge.video.pipeline_stats import LaneStats

LONG_S = 60.0  # no test needs it; one that hangs ends here


def run_to_end(pipeline: Pipeline) -> PipelineStats:
    """Run until all streams have ended; one that hangs fails the test."""
    stats = pipeline.run(duration_s=LONG_S)
    assert stats.seconds < LONG_S, "it did not end by itself"
    return stats


class Recorder:
    """A sink that remembers, and may be slow or fail."""

    def __init__(self, delay_s: float = 0.0, fail_at: int | None = None) -> None:
        self.results: list[FrameResult] = []
        self.events: list[StreamEvent] = []
        self.complete: bool | None = None
        self.rules: tuple[EventRule, ...] = ()
        self._delay_s = delay_s
        self._fail_at = fail_at

    def write(self, result: FrameResult) -> None:
        time.sleep(self._delay_s)
        if len(self.results) == self._fail_at:
            raise OSError("No space left on device")
        self.results.append(result)

    def event(self, event: StreamEvent) -> None:
        self.events.append(event)

    def close(self, *, complete: bool) -> None:
        assert self.complete is None, "closed twice"
        self.complete = complete

    def of(self, name: str) -> list[int]:
        return [one.index for one in self.results if one.stream == name]


def frames(count: int, period_s: float = 0.0) -> Iterator[np.ndarray]:
    for number in range(count):
        yield np.full((8, 8, 3), number % 251, np.uint8)
        time.sleep(period_s)


def endless(period_s: float = 0.002) -> Iterator[np.ndarray]:
    while True:
        yield from frames(251, period_s)


def a_file(count: int, name: str = "file", **options: object) -> Stream:
    return open_source(frames(count), name=name, policy="wait", **options)


def a_camera(name: str = "camera", period_s: float = 0.002, **options: object) -> Stream:
    return open_source(endless(period_s), name=name, policy="newest", **options)


class PatientLocalizer(StubLocalizer):
    """Works when each stream has a frame for it, so that the scheduler alone decides.

    On a busy machine a camera may else be too late for its turn, which is nobody's fault.
    """

    lanes: Callable[[], Sequence[LaneStats]]  # of its pipeline

    def run_batch(self, frames: Sequence[NDArray[np.uint8]], **options: Any) -> list[Localization]:
        until(lambda: all(map(_offers, self.lanes())))
        return super().run_batch(frames, **options)


def _offers(lane: LaneStats) -> bool:
    return lane.stream.waiting > 0 or lane.stream.state == "ended"


class FailsAt:
    """A smoother that raises at one frame."""

    def __init__(self, index: int) -> None:
        self._index = index

    def steady(self, frame: VideoFrame, found: Localization) -> tuple[Localization, None]:
        if frame.index >= self._index:
            raise ValueError("no map is smooth enough")
        return found, None
