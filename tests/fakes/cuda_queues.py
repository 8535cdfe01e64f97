"""Streams, events and captures of the fake driver: work waits in queues until something runs it."""

from __future__ import annotations

import itertools
import random
import threading
from collections import deque
from collections.abc import Callable

from fakes.cuda_errors import FakeCudaError

__all__ = ["Capture", "Event", "Queues", "Stream"]

Work = Callable[[], None]


class Capture:
    """One capture under way, begun in `origin` by `thread`."""

    def __init__(self, origin: Stream, thread: int) -> None:
        self.origin = origin
        self.thread = thread
        self.work: list[Work] = []
        self.forks: dict[Stream, bool] = {}  # joined streams → whether they have unjoined work
        self.invalid = False


class Stream:
    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.queue: deque[Work] = deque()
        self.running = False
        self.capture: Capture | None = None


class Event:
    """`asked` counts the records that were enqueued, `done` those that the device has passed."""

    def __init__(self, handle: int, *, timed: bool) -> None:
        self.handle = handle
        self.timed = timed
        self.stream: Stream | None = None
        self.captured: tuple[Capture, Stream] | None = None
        self.asked = self.done = 0
        self.time_us = -1


class Queues:
    """All streams of a device. With a seed, some work also runs earlier than it must."""

    def __init__(self, seed: int | None) -> None:
        self.lock = threading.RLock()
        self._random = None if seed is None else random.Random(seed)
        self._clock_us = itertools.count(1, 250)
        self.streams: dict[int, Stream] = {}
        self.events: dict[int, Event] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}

    def enqueue(self, stream: Stream, work: Work) -> None:
        if stream.capture is not None:
            stream.capture.work.append(work)
            if stream is not stream.capture.origin:
                stream.capture.forks[stream] = True
            return
        stream.queue.append(work)
        if self._random is not None and self._random.random() < 0.25:
            early = self._random.choice(list(self.streams.values()))
            for _ in range(self._random.randint(1, 3)):
                self.step(early)

    def step(self, stream: Stream) -> None:
        """Run the oldest work of a stream, and what it waits for."""
        if stream.queue and not stream.running:
            stream.running = True
            try:
                stream.queue.popleft()()
            finally:
                stream.running = False

    def drain(self, stream: Stream) -> None:
        while stream.queue and not stream.running:
            self.step(stream)

    def record(self, event: Event, stream: Stream) -> None:
        if stream.capture is not None:
            event.captured = (stream.capture, stream)
            return
        event.captured = None
        event.stream = stream
        event.asked += 1
        ticket = event.asked

        def work() -> None:
            event.done = max(event.done, ticket)
            event.time_us = next(self._clock_us)

        self.enqueue(stream, work)

    def reach(self, event: Event, ticket: int) -> None:
        """Run the event's stream until the event has passed."""
        while event.done < ticket and event.stream is not None and event.stream.queue:
            if event.stream.running:
                return
            self.step(event.stream)

    def wait(self, stream: Stream, event: Event) -> None:
        if event.captured is not None and event.captured[0].origin.capture is event.captured[0]:
            capture, source = event.captured
            if stream.capture is None:
                stream.capture = capture
                capture.forks[stream] = True
            elif source in capture.forks:
                capture.forks[source] = False
            return
        if stream.capture is not None:
            stream.capture.invalid = True
            raise FakeCudaError(905)
        ticket = event.asked
        self.enqueue(stream, lambda: self.reach(event, ticket))

    def refuse_while_capturing(self, capture: Capture | None) -> None:
        if capture is not None:
            capture.invalid = True
            raise FakeCudaError(900)

    def capture_of_thread(self) -> Capture | None:
        here = threading.get_ident()
        captures = (stream.capture for stream in self.streams.values())
        return next((each for each in captures if each and each.thread == here), None)

    def begin(self, stream: Stream) -> None:
        if stream.capture is not None:
            stream.capture.invalid = True
            raise FakeCudaError(401)
        stream.capture = Capture(stream, threading.get_ident())

    def end(self, stream: Stream) -> list[Work]:
        capture = stream.capture
        if capture is None:
            raise FakeCudaError(401)
        if capture.origin is not stream:
            raise FakeCudaError(903)
        if capture.thread != threading.get_ident():
            raise FakeCudaError(908)
        for each in (stream, *capture.forks):
            each.capture = None
        if capture.invalid:
            raise FakeCudaError(901)
        if any(capture.forks.values()):
            raise FakeCudaError(904)
        return capture.work
