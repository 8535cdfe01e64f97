"""The queue gives what its policy says, and never makes anybody wait for nothing."""

from __future__ import annotations

import sys
import threading
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_source import PATIENCE_S, until

from bas_edge.video.sources.frame_queue import FrameQueue, Policy


def nothing() -> None:
    pass


@given(
    policy=st.sampled_from(["newest", "oldest"]),
    depth=st.integers(1, 4),
    steps=st.lists(
        st.sampled_from(["put", "put", "take", "clear", "hold", "refuse", "release"]), max_size=60
    ),
)
def test_it_does_what_a_list_would(policy: Policy, depth: int, steps: list[str]) -> None:
    queue: FrameQueue[int] = FrameQueue(policy, depth, nothing)
    model: deque[int] = deque()
    held, refusing, dropped = False, False, 0
    for number, step in enumerate(steps):
        if step == "put":
            full = len(model) == depth
            taken_in = not refusing and (policy == "newest" or not full)
            assert queue.put(number) == taken_in
            dropped += full or refusing
            if taken_in:
                model.append(number)
            if len(model) > depth:
                model.popleft()
        elif step == "take":
            assert queue.take() == (model.popleft() if model and not held else None)
        elif step == "clear":
            queue.clear()
            dropped += len(model)
            model.clear()
        elif step == "hold":
            queue.hold()
            held = True
        elif step == "refuse":
            queue.hold(refuse=True)
            held = refusing = True
            dropped += len(model)
            model.clear()
        else:
            queue.release()
            held = refusing = False
        assert len(queue) == len(model)
        assert queue.ready == (bool(model) and not held)
        assert queue.dropped == dropped
        assert not queue.drained
    queue.close()
    queue.release()
    assert not queue.put(-1)
    assert queue.dropped == dropped + 1
    assert [queue.take(None) for _ in range(len(model))] == list(model)
    assert queue.drained
    assert queue.take(None) is None


def test_wait_loses_nothing_between_two_threads() -> None:
    queue: FrameQueue[int] = FrameQueue("wait", 2, nothing)

    def write() -> None:
        for number in range(2000):
            queue.put(number)
        queue.close()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while (item := queue.take(PATIENCE_S)) is not None:
        seen.append(item)
        assert len(queue) <= 2
    writer.join()
    assert seen == list(range(2000))
    assert queue.dropped == 0


def test_what_waited_to_be_taken_in_while_it_refused_is_not_taken_in_afterwards() -> None:
    queue: FrameQueue[int] = FrameQueue("wait", 1, nothing)
    queue.put(0)
    taken: list[bool] = []
    writer = threading.Thread(target=lambda: taken.append(queue.put(1)))
    writer.start()
    assert writer.ident is not None
    ident = writer.ident
    until(lambda: sys._current_frames()[ident].f_code.co_name == "wait")
    queue.hold(refuse=True)
    queue.release()
    writer.join(PATIENCE_S)
    assert (taken, len(queue), queue.dropped) == ([False], 0, 2)


@pytest.mark.parametrize("by", ["close", "clear"])
def test_a_waiting_writer_is_set_free(by: str) -> None:
    queue: FrameQueue[int] = FrameQueue("wait", 1, nothing)
    queue.put(0)
    taken: list[bool] = []
    writer = threading.Thread(target=lambda: taken.append(queue.put(1)))
    writer.start()
    getattr(queue, by)()
    writer.join(PATIENCE_S)
    assert taken == [by == "clear"]


@pytest.mark.parametrize("by", ["close", "put", "release"])
def test_a_waiting_taker_is_set_free(by: str) -> None:
    queue: FrameQueue[int] = FrameQueue("newest", 1, nothing)
    if by == "release":
        queue.put(7)
        queue.hold()
    taken: list[int | None] = []
    taker = threading.Thread(target=lambda: taken.append(queue.take(None)))
    taker.start()
    if by == "put":
        queue.put(7)
    else:
        getattr(queue, by)()
    taker.join(PATIENCE_S)
    assert taken == [None if by == "close" else 7]


def test_changes_are_told_without_a_lock() -> None:
    told: list[int] = []
    queue: FrameQueue[int] = FrameQueue("newest", 1, lambda: told.append(len(queue)))
    other: list[int] = []
    queue.put(1)
    thread = threading.Thread(target=lambda: other.append(len(queue)))
    thread.start()
    thread.join(PATIENCE_S)
    queue.close()
    assert told == [1, 1]
    assert other == [1]
