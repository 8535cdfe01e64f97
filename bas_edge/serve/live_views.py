"""The newest result of each stream, for those who look."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from bas_edge.serve.event_log import EventLog
from bas_edge.video.frames import FrameResult, StreamEvent

__all__ = ["LiveViews", "Seen"]

_RATE_S = 3.0  # over which results a second are counted


class Seen(NamedTuple):
    """A result, and its number among all that this process saw of any stream."""

    number: int
    result: FrameResult


class LiveViews:
    """A sink that remembers the newest result of each stream, and encodes nothing.

    Args:
        log: Where states of streams go.
    """

    def __init__(self, log: EventLog | None = None) -> None:
        self.log = EventLog() if log is None else log
        self._lock = threading.Lock()
        self._seen: dict[str, Seen] = {}
        self._times: dict[str, deque[float]] = {}
        self._gaps: dict[str, float] = {}
        self._reconnects: Counter[str] = Counter()
        self._last_events: dict[str, StreamEvent] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._number = 0

    # As a sink

    def write(self, result: FrameResult) -> None:
        """Remember it and forget the one before."""
        with self._lock:
            self._number += 1
            self._seen[result.stream] = Seen(self._number, result)
            times = self._times.setdefault(result.stream, deque(maxlen=512))
            times.append(time.monotonic())
            if result.frame.gap_s:
                self._gaps[result.stream] = result.frame.gap_s
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(result.stream)

    def event(self, event: StreamEvent) -> None:
        """Remember what became of the stream."""
        with self._lock:
            before = self._last_events.get(event.stream)
            if event.state == "running" and before is not None and before.state == "reconnecting":
                self._reconnects[event.stream] += 1
            self._last_events[event.stream] = event
        if before is None or not _again(before, event):
            self.log.add(event)

    def close(self, *, complete: bool) -> None:
        """Nothing to finish."""

    # For those who look

    def newest(self, stream: str) -> Seen | None:
        """The newest result of a stream; None before the first."""
        with self._lock:
            return self._seen.get(stream)

    def rate(self, stream: str) -> float:
        """Results a second, lately."""
        since = time.monotonic() - _RATE_S
        with self._lock:
            times = [at for at in self._times.get(stream, ()) if at >= since]
        if len(times) < 2 or times[-1] <= times[0]:
            return 0.0
        return (len(times) - 1) / (times[-1] - times[0])

    def gap_s(self, stream: str) -> float:
        """How long the connection was lost when it was lost last; 0.0 if it never was."""
        with self._lock:
            return self._gaps.get(stream, 0.0)

    def reconnects(self, stream: str) -> int:
        """How often the connection was lost and found again."""
        with self._lock:
            return self._reconnects[stream]

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call `listener` with the stream's name at each result, on the sink's thread.

        Returns:
            What ends this.
        """
        with self._lock:
            self._listeners.append(listener)

        def stop() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return stop


def _again(before: StreamEvent, event: StreamEvent) -> bool:
    """Whether an attempt to connect failed as the last one did; a night of them is no news."""
    if before.error is None or event.error is None:
        return False
    return (before.state, str(before.error)) == (event.state, str(event.error))
