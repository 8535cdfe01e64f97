"""Sources decoded ahead: order, how many are held, errors, and leaving early."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bas_edge.decoding import DECODERS, decoded_ahead
from bas_edge.errors import InputError


@given(count=st.integers(0, 12), ahead=st.integers(1, 5))
def test_each_source_in_order_and_no_more_than_asked_held(count: int, ahead: int) -> None:
    taken = 0

    def sources() -> Iterator[int]:
        nonlocal taken
        for n in range(count):
            taken += 1
            yield n

    seen = []
    for given_back, value in enumerate(decoded_ahead(sources(), lambda n: n * n, ahead=ahead)):
        assert taken - given_back <= ahead
        seen.append(value)
    assert seen == [n * n for n in range(count)]


def test_a_source_that_cannot_be_used_leaves_its_error_in_its_place() -> None:
    def decode(n: int) -> int:
        if n == 1:
            raise InputError("no")
        return n

    first, second, third = decoded_ahead(range(3), decode, ahead=2)
    assert (first, third) == (0, 2)
    assert isinstance(second, InputError)


def test_any_other_error_passes_through_and_stops_the_threads() -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(decoded_ahead(range(3), lambda n: 1 // n, ahead=2))
    assert threading.active_count() == before


def test_leaving_early_decodes_no_further_source() -> None:
    gate = threading.Event()
    decoded: list[int] = []

    def decode(n: int) -> int:
        if n:
            gate.wait()
        decoded.append(n)
        return n

    before = threading.active_count()
    with closing(decoded_ahead(range(100), decode, ahead=20)) as frames:
        assert next(frames) == 0
        gate.set()
    assert threading.active_count() == before
    assert len(decoded) <= 20


def test_as_many_at_once_as_there_are_threads() -> None:
    together = threading.Barrier(DECODERS, timeout=30)
    assert len(list(decoded_ahead(range(DECODERS), lambda _: together.wait(), ahead=4))) == DECODERS
