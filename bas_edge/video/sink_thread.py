"""One sink on a thread of its own, behind a bounded queue."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import NamedTuple

from bas_edge.video.busy import Busy
from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sinks.sink import Sink

__all__ = ["SinkThread"]

# Python runs signal handlers on the main thread between two steps of its code: one that comes in
# the instant before it begins to wait is heard when it next looks up.
_HEARD_S = 0.5


class _Item(NamedTuple):
    stream: Hashable
    what: FrameResult | StreamEvent
    done: Callable[[], None] | None


class SinkThread:
    """Feeds one sink.

    Args:
        sink: What is fed. It is closed at the end, also after a failure.
        depth: Results of one stream that may wait, where the stream may lose results.
        failed: Called once, on this thread, if the sink raises; it then gets nothing more.
        busy: Told while the sink works.

    Attributes:
        missed: Results of each stream that the sink did not get, as it was slow or had failed.
        error: What the sink raised; None if nothing.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        depth: int = 8,
        failed: Callable[[BaseException], None],
        busy: Busy,
    ) -> None:
        self.sink = sink
        self.missed: Counter[Hashable] = Counter()
        self.error: BaseException | None = None
        self._depth = depth
        self._failed = failed
        self._busy = busy
        self._items: deque[_Item] = deque()
        self._waiting: Counter[Hashable] = Counter()
        self._changed = threading.Condition()
        self._ending: bool | None = None  # `complete` of the sink's close
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._work, name=f"bas-edge-sink-{type(sink).__name__}", daemon=True
        )
        self._thread.start()

    def put(
        self,
        stream: Hashable,
        what: FrameResult | StreamEvent,
        done: Callable[[], None] | None = None,
    ) -> None:
        """Queue a result or an event; never waits.

        Args:
            stream: Whose it is.
            what: It.
            done: Called when the sink is through with it. A stream that loses nothing gives
                one, and holds back frames until it was called; a result without one is dropped
                where `depth` of its stream wait already.
        """
        with self._changed:
            refused = self._ending is not None or self.error is not None
            if not refused and isinstance(what, FrameResult) and done is None:
                refused = self._waiting[stream] >= self._depth
            if refused:
                self._miss(stream, what)
            else:
                self._waiting[stream] += 1
                self._items.append(_Item(stream, what, done))
                self._changed.notify()
        if refused and done is not None:
            done()

    def finish(self, *, complete: bool) -> None:
        """Write what waits, close the sink, end the thread. Safe to call twice."""
        with self._changed:
            if self._ending is None:
                self._ending = complete
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            # Before Python 3.13 a join that Ctrl-C interrupts takes the thread for ended.
            while not self._ended.wait(_HEARD_S):
                pass
            self._thread.join()

    def _work(self) -> None:
        while (item := self._next()) is not None:
            if self.error is None:
                self._attempt(partial(self._write, item.what))
            else:
                with self._changed:
                    self._miss(item.stream, item.what)
            if item.done is not None:
                item.done()
        complete = bool(self._ending) and self.error is None
        self._attempt(partial(self.sink.close, complete=complete))
        self._ended.set()

    def _next(self) -> _Item | None:
        with self._changed:
            while not self._items:
                if self._ending is not None:
                    return None
                self._changed.wait()
            item = self._items.popleft()
            self._waiting[item.stream] -= 1
            return item

    def _miss(self, stream: Hashable, what: FrameResult | StreamEvent) -> None:
        """Count it; the lock is held."""
        self.missed[stream] += isinstance(what, FrameResult)

    def _write(self, what: FrameResult | StreamEvent) -> None:
        if isinstance(what, FrameResult):
            self.sink.write(what)
        else:
            self.sink.event(what)

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            with self._busy.at(f"The sink {type(self.sink).__name__}"):
                step()
        except BaseException as error:  # noqa: BLE001  (handed on; a sink ends nothing but itself)
            if self.error is None:
                self.error = error
                self._failed(error)
