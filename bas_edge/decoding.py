"""Decoding ahead of use, in threads, with a bounded number of frames in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from bas_edge.errors import InputError

__all__ = ["DECODERS", "decoded_ahead", "none_usable"]

DECODERS = 2  # threads

Source = TypeVar("Source")
Decoded = TypeVar("Decoded")


def decoded_ahead(
    sources: Iterable[Source], decode: Callable[[Source], Decoded], *, ahead: int
) -> Generator[Decoded | InputError, None, None]:
    """`decode(source)` of each source, in order; the InputError in its place where it raised one.

    Two threads decode; `sources` itself is read in the caller's thread. Close the generator when
    it is left early: that stops the threads. Any other error than InputError passes through.

    Args:
        sources: What to decode, such as paths.
        decode: Called in the threads.
        ahead: How many decoded or waiting sources are held at most, whatever their number.
    """

    def attempt(source: Source) -> Decoded | InputError:
        try:
            return decode(source)
        except InputError as error:
            return error

    waiting: deque[Future[Decoded | InputError]] = deque()
    pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")
    try:
        for source in sources:
            waiting.append(pool.submit(attempt, source))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def none_usable(count: int, reason: str | None) -> InputError:
    """The error of a pass that could use none of its `count` images, the first for `reason`."""
    return InputError(
        f"None of the {count} images can be used: {reason or 'there are none.'}",
        hint="Check the paths and the files.",
    )
