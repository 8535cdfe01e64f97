"""What happened lately: states of streams, rules that came true, and what was tuned."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Protocol

from bas_edge.serve.schema import Event

__all__ = ["EventLog"]


class _Told(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


class EventLog:
    """The last events, numbered from 1. From any thread.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int = 500) -> None:
        self._events: deque[Event] = deque(maxlen=most)
        self._last = 0
        self._lock = threading.Lock()

    @property
    def last(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._last

    def add(self, event: _Told) -> None:
        """Keep a `StreamEvent`, a `RuleEvent` or another with the same form of `to_dict`."""
        told = event.to_dict()
        kind = str(told["event"])
        if kind == "state":
            what, text = str(told["state"]), str(told["reason"])
        else:
            what = str(told.get("rule", kind))
            score = told.get("score")
            text = str(told.get("class_name", "")) + ("" if score is None else f" {score:.2f}")
        self._keep(kind, str(told["stream"]), str(told["at"]), what, text)

    def note(self, at: str, what: str, text: str, stream: str = "") -> None:
        """Keep that somebody changed something."""
        self._keep("change", stream, at, what, text)

    def after(self, number: int) -> list[Event]:
        """The events that are kept and are newer than `number`, oldest first."""
        with self._lock:
            return [event for event in self._events if event.id > number]

    def _keep(self, kind: str, stream: str, at: str, what: str, text: str) -> None:
        with self._lock:
            self._last += 1
            self._events.append(Event(self._last, kind, stream, at, what, text))
