"""Ctrl-C, SIGTERM and SIGHUP, while there is something to finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["SIGNALS", "asked_to_end"]

# Windows has no SIGHUP, which is what a closed terminal and a lost ssh connection send.
SIGNALS = (signal.SIGINT, signal.SIGTERM, *filter(None, [getattr(signal, "SIGHUP", None)]))
_PATIENCE = 3  # this one of the signals ends the program as if there were no handler


@contextmanager
def asked_to_end(ask: Callable[[], None]) -> Iterator[None]:
    """Until the block ends, the first of SIGNALS calls `ask` and the second does nothing.

    So the block holds what closes files too: a service manager, `timeout` or a person who
    presses Ctrl-C twice does not leave a broken one. The third kills the program at once.

    Example:
        with Pipeline(localizer) as pipeline, asked_to_end(pipeline.stop):
            pipeline.add(open_source("rtsp://camera/live"), sinks=[JsonLines("door.jsonl")])
            pipeline.run()

    Args:
        ask: Called in the main thread, between any two steps of it. It may raise.

    A signal that is ignored stays so (nohup). Off the main thread, which alone may have handlers,
    this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (signal's signature)
        nonlocal count
        count += 1
        if count == 1:
            ask()
        elif count >= _PATIENCE:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    heard = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    former = {each: signal.signal(each, handle) for each in heard}
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)
