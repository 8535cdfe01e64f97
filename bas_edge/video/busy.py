"""What threads are at, and for how long: how a program notices that one of them hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Busy"]


class Busy:
    """Knows since when each thread has been at one step. From any thread.

    Args:
        clock: Gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._steps: dict[int, tuple[str, float]] = {}

    @contextmanager
    def at(self, what: str) -> Iterator[None]:
        """The calling thread is at `what` until the block ends."""
        thread = threading.get_ident()
        with self._lock:
            self._steps[thread] = what, self._clock()
        try:
            yield
        finally:
            with self._lock:
                del self._steps[thread]

    def longer_than(self, seconds: float) -> tuple[tuple[str, float], ...]:
        """What has taken longer than that without an end, and how long so far, in seconds."""
        with self._lock:
            now = self._clock()
            steps = [(what, now - began) for what, began in self._steps.values()]
        return tuple(step for step in steps if step[1] > seconds)
