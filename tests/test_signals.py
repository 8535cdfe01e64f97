"""A program that is told to end more than once finishes all the same, up to a point."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from bas_edge.signals import SIGNALS, asked_to_end

EACH = pytest.mark.parametrize("number", SIGNALS)


@pytest.fixture(autouse=True)
def others() -> Iterator[list[int]]:
    """Signals that came through to whoever had them before; all handlers are put back."""
    came: list[int] = []
    former = {each: signal.signal(each, lambda number, _: came.append(number)) for each in SIGNALS}
    yield came
    for each, handler in former.items():
        signal.signal(each, handler)


@EACH
def test_the_first_signal_asks_and_the_second_does_nothing(number: int, others: list[int]) -> None:
    asked: list[bool] = []
    with asked_to_end(lambda: asked.append(True)):
        assert asked == []
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)
        assert asked == [True]
    assert others == []
    signal.raise_signal(number)
    assert others == [number]


def test_what_is_asked_may_raise_and_closing_is_not_disturbed(others: list[int]) -> None:
    closed = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    def block() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            closed.append(True)

    with pytest.raises(KeyboardInterrupt), asked_to_end(interrupt):
        block()
    assert (closed, others) == ([True], [])


@EACH
def test_the_third_signal_kills(number: int) -> None:
    program = (
        "import signal\n"
        "from bas_edge.signals import asked_to_end\n"
        "with asked_to_end(lambda: None):\n"
        f"    for _ in range(3): signal.raise_signal({int(number)})\n"
        "print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (-number, b"")


def test_other_threads_have_no_handlers(others: list[int]) -> None:
    def block() -> None:
        with asked_to_end(lambda: None):
            signal.raise_signal(signal.SIGTERM)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert others == [signal.SIGTERM]


@EACH
def test_what_is_ignored_stays_so(number: int) -> None:
    """As nohup ignores SIGHUP for whom it starts."""
    asked: list[bool] = []
    signal.signal(number, signal.SIG_IGN)
    with asked_to_end(lambda: asked.append(True)):
        signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_IGN
    assert asked == []


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows closes terminals otherwise")
def test_a_closed_terminal_asks_too() -> None:
    assert signal.SIGHUP in SIGNALS
