"""Two threads beside the main one, with bounded queues: read ahead, and write behind.

Decoding, inference and encoding all release the GIL, so they overlap; the queues bound
how many frames are alive, so memory does not grow with the length of the video.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["WriteBehind", "read_ahead"]

Item = TypeVar("Item")

_POLL_S = 0.1


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _End:
    pass


def read_ahead(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """Yield `items`, which a thread produces up to `depth` ahead.

    An error of the producer is raised here, after the items before it. Closing the
    generator (or leaving its loop) stops the thread before it returns.
    """
    ready: queue.Queue[Item | _Failed | _End] = queue.Queue(depth)
    stop = threading.Event()

    def offer(item: Item | _Failed | _End) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not offer(item):
                    return
            offer(_End())
        except BaseException as error:  # noqa: BLE001  (raised again in the consumer)
            offer(_Failed(error))

    thread = threading.Thread(target=produce, name="bas-edge-read-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        stop.set()
        thread.join()


class WriteBehind(Generic[Item]):
    """Hands items to `write` on a thread, at most `depth` waiting; a context manager.

    An error of `write` is raised by the next `put`, or at the end of the block. When the
    block itself fails, waiting items are dropped.
    """

    def __init__(self, write: Callable[[Item], None], depth: int) -> None:
        self._write = write
        self._waiting: queue.Queue[Item | _End] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._drop = False
        self._thread = threading.Thread(
            target=self._consume, name="bas-edge-write-behind", daemon=True
        )

    def put(self, item: Item) -> None:
        """Queue one item, waiting while the queue is full."""
        if self._error is not None:
            raise self._error
        self._waiting.put(item)

    def __enter__(self) -> WriteBehind[Item]:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._drop = kind is not None
        self._waiting.put(_End())
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def _consume(self) -> None:
        while not isinstance(item := self._waiting.get(), _End):
            if self._error is not None or self._drop:
                continue  # keep taking, so that put() never waits for ever
            try:
                self._write(item)
            except BaseException as error:  # noqa: BLE001  (raised again in the producer)
                self._error = error
