"""Messages on their way to a server that may be slow or away: bounded, in order, tried again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from bas_edge.errors import InputError

__all__ = ["Outbox", "Refused", "TryAgain"]

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 60.0


class TryAgain(Exception):  # noqa: N818 (it is what to do, not what is wrong)
    """The messages did not arrive; they may later. `answered`: the server itself said so."""

    def __init__(self, reason: str, *, answered: bool = False) -> None:
        super().__init__(reason)
        self.answered = answered


class Refused(Exception):  # noqa: N818 (the answer's name)
    """The server will never take these messages."""


class Outbox:
    """Hands messages to `send` on a thread of its own, in order, several at once if asked.

    While the server is away, the messages wait and the first ones are tried again, after 0.5 s,
    1 s, 2 s … up to a minute. When more than `capacity` wait, the oldest are dropped. A server that
    answers, but with an error, is asked `attempts` times about the same messages.

    Attributes:
        sent: Messages that arrived.
        dropped: Messages that did not and never will.
        problem: What went wrong last, in a sentence; "" once a message arrived again.

    Args:
        send: Gets 1 to `batch` messages. Raises TryAgain or Refused; after anything else, which
            nobody expected, the messages count as dropped, and the next ones are sent.
        capacity: How many messages may wait.
        batch: How many messages to send at once, at most.
        batch_s: How long the first of them may wait for the others.
        attempts: See above.

    Raises:
        InputError: A number that cannot be.
    """

    def __init__(
        self,
        send: Callable[[list[bytes]], None],
        *,
        capacity: int = 1000,
        batch: int = 1,
        batch_s: float = 1.0,
        attempts: int = 8,
    ) -> None:
        waits = 0 <= batch_s < threading.TIMEOUT_MAX
        if capacity < 1 or attempts < 1 or not 1 <= batch <= capacity or not waits:
            raise InputError(
                f"Of a queue of {capacity}, {batch} messages at once, waited for {batch_s} s and "
                f"tried {attempts} times, cannot be sent.",
                hint="All but the seconds must be at least 1, and a batch no larger than the "
                "queue.",
            )
        self._send, self._capacity, self._attempts = send, capacity, attempts
        self._batch, self._batch_s = batch, batch_s
        self._waiting: deque[tuple[float, bytes]] = deque()  # when it came: monotonic seconds
        self._changed = threading.Condition()
        self._deadline: float | None = None  # of closing
        self.sent = self.dropped = 0
        self.problem = ""
        self._thread = threading.Thread(target=self._work, name="bas-edge-outbox", daemon=True)
        self._thread.start()

    def put(self, message: bytes) -> None:
        """Queue a message; never waits."""
        with self._changed:
            if self._deadline is not None:
                self.dropped += 1
                return
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((time.monotonic(), message))
            self._changed.notify()

    def close(self, within_s: float) -> None:
        """Send what waits, and give up what has not arrived within so many seconds."""
        with self._changed:
            self._deadline = time.monotonic() + within_s
            self._changed.notify()
        self._thread.join(within_s)
        with self._changed:
            self.dropped += len(self._waiting)
            self._waiting.clear()

    def _work(self) -> None:
        failures = answers = 0
        while messages := self._first_ones():
            try:
                self._send(messages)
            except TryAgain as error:
                failures, answers = failures + 1, answers + error.answered
                self.problem = str(error)
                if answers < self._attempts:
                    doubled = 2 ** min(failures - 1, 30)  # beyond some 1000, no float holds it
                    if not self._pause(min(_FIRST_WAIT_S * doubled, _LONGEST_WAIT_S)):
                        return
                    continue
                self._remove(messages, arrived=False)
            except Refused as error:
                self.problem = str(error)
                self._remove(messages, arrived=False)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next ones are due)
                # Its text may hold a secret, such as a header.
                self.problem = f"A message cannot be sent ({type(error).__name__})."
                self._remove(messages, arrived=False)
            else:
                self.problem = ""
                self._remove(messages, arrived=True)
            failures = answers = 0

    def _first_ones(self) -> list[bytes]:
        """Those to send next, which stay in the queue; [] when closed and empty."""
        with self._changed:
            while True:
                closing = self._deadline is not None
                if not self._waiting:
                    if closing:
                        return []
                    self._changed.wait()
                    continue
                left_s = self._waiting[0][0] + self._batch_s - time.monotonic()
                if len(self._waiting) >= self._batch or closing or left_s <= 0:
                    return [message for _, message in list(self._waiting)[: self._batch]]
                self._changed.wait(left_s)

    def _remove(self, messages: list[bytes], *, arrived: bool) -> None:
        with self._changed:
            removed = 0
            for message in messages:  # some may have been dropped while they were on their way
                if self._waiting and self._waiting[0][1] is message:
                    self._waiting.popleft()
                    removed += 1
            self.sent += len(messages) if arrived else 0
            self.dropped += -(len(messages) - removed) if arrived else removed

    def _pause(self, seconds: float) -> bool:
        """Wait before the next attempt; False where closing leaves no time for one."""
        until = time.monotonic() + seconds
        with self._changed:
            while (now := time.monotonic()) < until:
                if self._deadline is not None:
                    until = min(until, max(now, self._deadline - 0.1))
                    if now >= self._deadline - 0.1:
                        return False
                self._changed.wait(max(0.0, until - now))
        return True
