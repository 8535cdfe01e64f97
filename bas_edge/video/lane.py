"""One stream on its way through a pipeline: its frames in order, its results to its sinks."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bas_edge.errors import BasEdgeError
from bas_edge.video.frames import FrameResult, Stability, StreamEvent, VideoFrame
from bas_edge.video.sink_thread import SinkThread
from bas_edge.video.sources.addresses import redacted
from bas_edge.video.sources.claimed_frame import ClaimedFrame
from bas_edge.video.sources.stream import Stream
from bas_edge.video.stage_times import StageTimes
from bas_edge.video.steady.stability import StabilitySummary

if TYPE_CHECKING:
    from bas_edge.finding import Finding
    from bas_edge.results import Localization
    from bas_edge.video.steady.smoothing import Smoothing

__all__ = ["Job", "Lane", "Smoother"]


class Smoother(Protocol):
    """Makes the results of one stream steady; called in the order of its frames."""

    def steady(
        self, frame: VideoFrame, localization: Localization
    ) -> tuple[Localization, Stability | None]: ...


class Job(NamedTuple):
    """A frame that a worker has taken."""

    lane: Lane
    ticket: int
    frame: ClaimedFrame


class Lane:
    """Hands out a stream's frames and takes back what was found in them, in any order.

    Args:
        stream: The stream.
        sinks: Where results go.
        in_flight: How many frames may be on their way at once.
        changed: Called when a frame may be taken that could not be before, or the lane is done.
        failed: Called once if the smoother raises, with whose it is and the error. The stream
            then ends with this error.
    """

    def __init__(
        self,
        stream: Stream,
        sinks: Sequence[SinkThread],
        *,
        in_flight: int,
        changed: Callable[[], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self.stream = stream
        self.sinks = tuple(sinks)
        self.served = 0  # the scheduler's clock when a frame was last taken
        self.results = self.found = self.unusable = 0
        self.age_ms = StageTimes()
        self.stability = StabilitySummary()
        self.smoother: Smoother | None = None  # of every result from now on, in order
        self.smoothing: Smoothing | None = None  # what it was made of, to make another one
        self.done = False
        self._lossless = stream.policy == "wait"
        self._limit = in_flight
        self._changed = changed
        self._failed = failed
        self._error: Exception | None = None  # the smoother's; nothing is handed on after it
        self._lock = threading.Lock()
        self._issued = self._expected = self._held = 0
        self._back: list[tuple[int, Callable[[], None]]] = []
        self._draining = False
        self._ended: StreamEvent | None = None
        stream.listen(self._event)
        stream.wake(changed)

    # For the scheduler, under its lock

    @property
    def ready(self) -> bool:
        """Whether a frame can be taken now."""
        return not self.done and self._held < self._limit and self.stream.ready

    def take(self) -> Job | None:
        """The next frame."""
        with self._lock:  # so that nobody sees it taken and not counted
            frame = self.stream.claim()
            if frame is None:
                return None
            ticket, self._issued = self._issued, self._issued + 1
            self._held += 1
        return Job(self, ticket, frame)

    # For the workers

    def put_back(self, job: Job, frame: VideoFrame, found: Finding) -> None:
        """What was found in a frame."""
        claimed = job.frame.without_picture()
        self._in_order(job.ticket, partial(self._emit, claimed, frame, found))

    def put_back_unusable(self, job: Job, error: Exception) -> None:
        """A frame could not be converted to pixels."""
        self._in_order(job.ticket, partial(self._miss, job.frame.without_picture(), error))

    def _in_order(self, ticket: int, then: Callable[[], None]) -> None:
        with self._lock:
            heapq.heappush(self._back, (ticket, then))
            if self._draining:
                return  # the thread that drains takes this one too
            self._draining = True
        while (next_one := self._next_in_order()) is not None:
            next_one()
        self.settle()

    def settle(self) -> None:
        """Notice that the lane is done: its stream has ended and everything is handed out."""
        with self._lock:
            idle = self._expected == self._issued and not self._draining
            if self.done or not idle or not self.stream.finished or self._ended is None:
                return
            self.done = True
            event = self._ended
        error = self.stream.error
        if error is not None:  # which may have come after the end of its source
            known = error if isinstance(error, BasEdgeError) else None
            event = replace(event, reason=redacted(str(error)), error=known)
        for sink in self.sinks:
            sink.put(self, event)
        self._changed()

    def _next_in_order(self) -> Callable[[], None] | None:
        with self._lock:
            if not self._back or self._back[0][0] != self._expected:
                self._draining = False
                return None
            self._expected += 1
            return heapq.heappop(self._back)[1]

    def _miss(self, claimed: ClaimedFrame, error: Exception) -> None:
        self.unusable += 1
        self.stream.unusable(claimed, error)
        self._let_go()

    def _emit(self, claimed: ClaimedFrame, frame: VideoFrame, seen: Finding) -> None:
        frame = self.stream.usable(claimed, frame)
        result = FrameResult(self.stream.name, frame, seen)
        smoother = self.smoother
        try:
            if smoother is not None and self._error is None:
                found, stability = smoother.steady(frame, result.localization)
                result = replace(
                    result,
                    finding=found,
                    seen=seen if found is not seen else None,
                    stability=stability,
                )
                if stability is not None:
                    self.stability.add(stability)
        except Exception as error:  # noqa: BLE001  (handed on; a smoother ends only its stream)
            self._error = error
            self.stream.fail(error)
            self._failed(f"{type(smoother).__name__} of '{self.stream.name}'", error)
        if self._error is not None:
            self._let_go()
            return
        age_ms = max(0.0, 1000 * (time.time() - frame.captured_at))
        self.results += 1
        self.found += result.finding.found
        self.age_ms.add(age_ms)
        result = replace(result, age_ms=age_ms)
        if not self._lossless or not self.sinks:
            for sink in self.sinks:
                sink.put(self, result)
            self._let_go()
            return
        done = _AfterAll(len(self.sinks), self._let_go)
        for sink in self.sinks:
            sink.put(self, result, done)

    def _let_go(self) -> None:
        with self._lock:
            self._held -= 1
        self._changed()

    def _event(self, event: StreamEvent) -> None:
        if event.state == "ended":  # told when the frames before it are through
            with self._lock:
                self._ended = event
            self._changed()
            return
        for sink in self.sinks:
            sink.put(self, event)


class _AfterAll:
    """Calls `then` after it was called `count` times, from any threads."""

    def __init__(self, count: int, then: Callable[[], None]) -> None:
        self._left = count
        self._then = then
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._then()
