"""The two threads around inference: order, bounds, errors, and nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bas_edge.video.overlap import WriteBehind, read_ahead


def counting(limit: int, taken: list[int]) -> Iterator[int]:
    for number in range(limit):
        taken.append(number)
        yield number


def no_thread_is_left() -> bool:
    return not any(thread.name.startswith("bas-edge-") for thread in threading.enumerate())


def test_read_ahead_keeps_order_and_bound() -> None:
    taken: list[int] = []
    ahead = [len(taken) - number for number in read_ahead(counting(50, taken), depth=2)]
    assert len(ahead) == 50
    assert max(ahead) <= 2 + 2  # two waiting, one in the producer's hand, one in ours
    assert no_thread_is_left()


def test_leaving_the_loop_stops_the_reader() -> None:
    taken: list[int] = []
    items = read_ahead(counting(10_000, taken), depth=2)
    assert next(items) == 0
    items.close()
    assert len(taken) <= 5
    assert no_thread_is_left()


def test_an_error_of_the_reader_comes_after_what_it_read() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError("unplugged")

    got: list[int] = []
    with pytest.raises(OSError, match="unplugged"):
        got.extend(read_ahead(failing(), depth=2))
    assert got == [1]
    assert no_thread_is_left()


def test_write_behind_writes_all_in_order() -> None:
    written: list[int] = []
    with WriteBehind(written.append, depth=2) as writer:
        for number in range(20):
            writer.put(number)
    assert written == list(range(20))
    assert no_thread_is_left()


def test_an_error_of_the_writer_is_raised_in_the_block() -> None:
    def full(_: int) -> None:
        raise OSError("disk full")

    def block() -> None:
        with WriteBehind(full, depth=1) as writer:
            for number in range(100):
                writer.put(number)

    with pytest.raises(OSError, match="disk full"):
        block()
    assert no_thread_is_left()


def test_an_error_of_the_last_write_is_raised_too() -> None:
    def full(_: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), WriteBehind(full, depth=4) as writer:
        writer.put(1)


def test_a_failed_block_drops_what_waits() -> None:
    started, go_on = threading.Event(), threading.Event()
    written: list[int] = []

    def slow(number: int) -> None:
        started.set()
        go_on.wait()
        written.append(number)

    def block() -> None:
        with WriteBehind(slow, depth=4) as writer:
            for number in range(3):
                writer.put(number)
            started.wait()
            threading.Timer(0.05, go_on.set).start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert written == [0]
