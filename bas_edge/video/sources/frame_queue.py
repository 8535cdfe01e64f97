"""Frames between the thread that reads a source and whoever takes them, under one policy."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

__all__ = ["FrameQueue", "Policy"]

Policy = Literal["newest", "oldest", "wait"]

Item = TypeVar("Item")


class FrameQueue(Generic[Item]):
    """A bounded queue with one writer.

    Policies, when it is full:
        newest: The frame that waited longest gives way. For live streams; with a depth of 1
            what is taken is never older than one frame interval.
        oldest: The new frame gives way: what came first is kept, as for a burst.
        wait: The writer waits, so nothing is lost. For files.

    Args:
        policy: See above.
        depth: How many frames wait at most.
        changed: Called, without any lock held, after each change that a taker may wait for.

    Attributes:
        dropped: Frames that came and were not taken in, or gave way; it only grows.
    """

    def __init__(self, policy: Policy, depth: int, changed: Callable[[], None]) -> None:
        self.policy = policy
        self.dropped = 0
        self._depth = depth
        self._changed = changed
        self._items: deque[Item] = deque()
        self._ready = threading.Condition()
        self._closed = self._held = self._refusing = False
        self._refusals = 0  # how often it began to: who waited in `put` meanwhile has an old frame

    def put(self, item: Item) -> bool:
        """Add a frame; False if it was not taken in."""
        with self._ready:
            before = self._refusals
            while self.policy == "wait" and len(self._items) >= self._depth and not self._closed:
                self._ready.wait()
            if self._closed or self._refusing or before != self._refusals:
                self.dropped += 1
                return False
            if len(self._items) >= self._depth:
                self.dropped += 1
                if self.policy == "oldest":
                    return False
                self._items.popleft()
            self._items.append(item)
            self._ready.notify_all()
        self._changed()
        return True

    def take(self, timeout_s: float | None = 0.0) -> Item | None:
        """The next frame; None if none came in time, or the queue is closed and empty.

        While the queue is held, none comes.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._ready:
            while self._held or (not self._items and not self._closed):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._ready.wait(left)
            if not self._items:
                return None
            item = self._items.popleft()
            self._ready.notify_all()
            return item

    def __len__(self) -> int:
        return len(self._items)

    @property
    def ready(self) -> bool:
        """Whether `take` would give a frame at once."""
        with self._ready:
            return bool(self._items) and not self._held

    def hold(self, *, refuse: bool = False) -> None:
        """Give nothing out until `release`.

        Args:
            refuse: Take nothing in either, and let go of what waits, here or to be taken in.
        """
        with self._ready:
            self._held = True
            if refuse:
                self._refusing = True
                self._refusals += 1
                self.clear()

    def release(self) -> None:
        """Give frames out again, and take them in."""
        with self._ready:
            self._held = self._refusing = False
            self._ready.notify_all()
        self._changed()

    @property
    def drained(self) -> bool:
        """Nothing waits, and nothing will come."""
        with self._ready:
            return self._closed and not self._items

    def clear(self) -> None:
        """Let go of what waits."""
        with self._ready:
            self.dropped += len(self._items)
            self._items.clear()
            self._ready.notify_all()

    def close(self) -> None:
        """No more frames are taken in; those that wait can still be taken out."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        self._changed()
