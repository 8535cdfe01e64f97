"""Keeps Python's garbage collector out of calls that it could break.

TensorRT calls back into Python (its logger, its progress monitor) while it holds a lock of its
own, and the destructors of its objects take the same lock. So if a collection begins inside such
a callback and finds an old builder or engine, the thread waits for itself for ever, with the GIL.
Nor may anything be freed on a GPU while a CUDA graph is captured.
"""

from __future__ import annotations

import gc
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["forget_frames", "no_collection"]

_lock = threading.Lock()
_inside = 0
_was_enabled = False


@contextmanager
def no_collection() -> Iterator[None]:
    """No automatic collection, in any thread, while any block is entered."""
    global _inside, _was_enabled
    with _lock:
        if _inside == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _was_enabled:
                gc.enable()


def forget_frames(error: BaseException) -> None:
    """Let go of the local variables of the frames that an error came through.

    Whoever keeps the error would keep TensorRT's objects with it, in a cycle, for a collection to
    find later.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            pending += [each.__cause__, each.__context__]
