"""Which results make a message."""

from __future__ import annotations

import pytest
from stream_results import result

from bas_edge.errors import InputError
from bas_edge.video.sinks.result_filter import Every, ResultFilter


def passed(every: Every, seen: list[str | None]) -> list[int]:
    chosen = ResultFilter(every)
    return [
        at
        for at, name in enumerate(seen)
        if chosen.passes(result(at, class_name=name or "wren", found=name is not None))
    ]


SEEN = [None, "wren", "wren", None, None, "wren", "crow", "crow"]


def test_each_kind() -> None:
    assert passed("change", SEEN) == [1, 3, 5, 6]
    assert passed("result", SEEN) == list(range(8))
    assert passed("event", SEEN) == []


def test_streams_change_apart() -> None:
    chosen = ResultFilter("change")
    assert chosen.passes(result(stream="a"))
    assert chosen.passes(result(stream="b"))
    assert not chosen.passes(result(1, stream="a"))


def test_another_word() -> None:
    wrong: Every = "frame"  # a wrong value is the point
    with pytest.raises(InputError, match="every is 'frame', which is none of result, change"):
        ResultFilter(wrong)
