"""The queue before a server: in order, bounded, tried again, and everything is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from bas_edge.errors import InputError
from bas_edge.video.sinks import outbox
from bas_edge.video.sinks.outbox import Outbox, Refused, TryAgain


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(outbox, "_LONGEST_WAIT_S", 0.004)


class Server:
    """Takes messages, or answers with what `answers` says, one after the other."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.taken: list[list[bytes]] = []
        self.asked = 0
        self.open = threading.Event()
        self.open.set()

    def __call__(self, messages: list[bytes]) -> None:
        self.asked += 1
        assert self.open.wait(10)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.taken.append(messages)


def numbers(*ns: int) -> list[bytes]:
    return [str(n).encode() for n in ns]


def test_messages_arrive_in_order() -> None:
    server = Server()
    box = Outbox(server)
    for message in numbers(*range(50)):
        box.put(message)
    box.close(10)
    assert [one for each in server.taken for one in each] == numbers(*range(50))
    assert (box.sent, box.dropped, box.problem) == (50, 0, "")


def test_what_failed_is_tried_again_before_the_next() -> None:
    server = Server(TryAgain("away"), TryAgain("away"), None)
    box = Outbox(server, attempts=2)  # no limit where nobody answered
    for message in numbers(1, 2):
        box.put(message)
    box.close(10)
    assert server.taken == [numbers(1), numbers(2)]
    assert (box.sent, box.dropped, box.problem) == (2, 0, "")


def test_a_server_that_keeps_failing_is_asked_so_often_and_no_more() -> None:
    server = Server(*[TryAgain("it answers 500", answered=True)] * 3)
    box = Outbox(server, attempts=3)
    for message in numbers(1, 2):
        box.put(message)
    box.close(10)
    assert server.taken == [numbers(2)]
    assert (box.sent, box.dropped, server.asked) == (1, 1, 4)


def test_what_is_refused_is_not_tried_again() -> None:
    server = Server(Refused("no"))
    box = Outbox(server)
    box.put(b"1")
    box.close(10)
    assert (box.sent, box.dropped, box.problem, server.asked) == (0, 1, "no", 1)


def test_an_error_that_nobody_expected_costs_its_message_and_shows_no_secret() -> None:
    server = Server(ValueError("Invalid header value b'Bearer s3cret'"))
    box = Outbox(server)
    box.put(b"1")
    box.close(10)
    assert (box.sent, box.dropped) == (0, 1)
    assert box.problem == "A message cannot be sent (ValueError)."


def test_after_an_unexpected_error_the_next_messages_are_sent() -> None:
    server = Server(ValueError("no"), None)
    box = Outbox(server)
    for message in numbers(1, 2):
        box.put(message)
    box.close(10)
    assert server.taken == [numbers(2)]
    assert (box.sent, box.dropped, box.problem) == (1, 1, "")


def test_a_server_may_be_away_for_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_LONGEST_WAIT_S", 0.0)
    server = Server(*[TryAgain("away")] * 1100)  # 2 ** 1100 is more than a float holds
    box = Outbox(server)
    box.put(b"1")
    box.close(10)
    assert (box.sent, box.dropped, server.asked) == (1, 0, 1101)


def test_when_too_many_wait_the_oldest_go() -> None:
    server = Server()
    server.open.clear()
    box = Outbox(server, capacity=3)
    for message in numbers(*range(10)):
        box.put(message)
    server.open.set()
    box.close(10)
    taken = [one for each in server.taken for one in each]
    assert taken[-3:] == numbers(7, 8, 9)
    assert len(taken) in (3, 4)  # the first was perhaps on its way already
    assert box.sent + box.dropped == 10
    assert box.sent == len(taken)


def test_batches() -> None:
    server = Server()
    server.open.clear()
    box = Outbox(server, batch=4, batch_s=60)
    for message in numbers(*range(10)):
        box.put(message)
    server.open.set()
    box.close(10)  # sends the last two, which would wait for more
    assert [len(each) for each in server.taken] == [4, 4, 2]
    assert [one for each in server.taken for one in each] == numbers(*range(10))


def test_a_batch_that_is_not_full_leaves_in_time() -> None:
    arrived = threading.Event()
    box = Outbox(lambda _: arrived.set(), batch=100, batch_s=0.01)
    box.put(b"1")
    assert arrived.wait(10)
    box.close(10)


def test_closing_gives_up_in_time_and_counts() -> None:
    asked = threading.Semaphore(0)

    def away(messages: list[bytes]) -> None:
        asked.release()
        raise TryAgain("away")

    box = Outbox(away)
    for message in numbers(1, 2, 3):
        box.put(message)
    for _ in range(2):  # after the second time, the first one's answer is noted
        assert asked.acquire(timeout=10)
    box.close(0.05)
    box.put(b"4")  # too late
    box._thread.join(10)
    assert (box.sent, box.dropped, box.problem) == (0, 4, "away")
    assert not box._thread.is_alive()


@pytest.mark.parametrize(
    "options",
    [
        {"capacity": 0},
        {"attempts": 0},
        {"batch": 0},
        {"batch": 5, "capacity": 4},
        {"batch_s": -1.0},
        {"batch_s": float("nan")},
        {"batch_s": float("inf")},
    ],
)
def test_numbers_that_cannot_be(options: dict[str, Any]) -> None:
    send: Callable[[list[bytes]], None] = lambda _: None  # noqa: E731 (nothing to name)
    with pytest.raises(InputError, match="cannot be sent"):
        Outbox(send, **options)
