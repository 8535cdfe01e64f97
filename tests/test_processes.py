"""Work in processes of this machine: its results, its errors, and its end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from bas_edge.errors import BasEdgeError, MissingExtraError
from bas_edge.processes import in_processes, processor_share


def squares(rank: int, size: int) -> Iterator[tuple[int, int]]:
    for number in range(rank, 5, size):
        yield number, number**2


def second_fails(rank: int, size: int) -> Iterator[int]:
    yield from (os.getpid() for _ in range(1 if rank else 10**9))  # the first never ends
    raise MissingExtraError("cv2", extra="wsoleval", purpose=f"The part {rank} of {size}")


def second_is_killed(rank: int, _size: int) -> Iterator[int]:
    yield rank
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def second_has_a_bug(rank: int, size: int) -> Iterator[int]:
    yield size // (1 - rank)


def pids_for_ever(_rank: int, _size: int) -> Iterator[int]:
    while True:
        yield os.getpid()


def test_every_result_of_every_process_comes() -> None:
    assert sorted(in_processes(squares, 2)) == [(n, n**2) for n in range(5)]


def test_an_error_keeps_its_class_and_ends_the_others() -> None:
    pids: set[int] = set()
    with pytest.raises(MissingExtraError) as caught:
        pids.update(in_processes(second_fails, 2))
    assert str(caught.value).startswith("The part 1 of 2 needs the module 'cv2'")
    assert (caught.value.hint, caught.value.extra) == (
        "pip install 'bas-edge[wsoleval]'",
        "wsoleval",
    )
    assert_ended(pids)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows ends processes otherwise")
def test_a_process_that_is_killed_is_named() -> None:
    with pytest.raises(BasEdgeError) as caught:
        list(in_processes(second_is_killed, 2))
    assert str(caught.value) == (
        "Process 1 of 2 (counted from 0) was ended by signal 9 before its work was done."
    )


def test_a_bug_in_a_process_keeps_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BasEdgeError, match=r"Process 1 of 2 .* failed with exit code 1"):
        list(in_processes(second_has_a_bug, 2))
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_who_wants_no_more_ends_the_processes() -> None:
    made = in_processes(pids_for_ever, 1)
    pid = next(made)
    made.close()
    assert_ended({pid})


class PressedAtStart:
    """Work that has Ctrl-C pressed while a process of it is started: while it is pickled."""

    def __reduce__(self) -> tuple[object, ...]:
        signal.raise_signal(signal.SIGINT)
        return (PressedAtStart, ())

    def __call__(self, rank: int, size: int) -> Iterator[int]:
        return pids_for_ever(rank, size)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal masks")
def test_ctrl_c_ends_all_even_while_they_start() -> None:
    with pytest.raises(KeyboardInterrupt):
        list(in_processes(PressedAtStart(), 2))
    assert multiprocessing.active_children() == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def deaf(_rank: int, _size: int) -> Iterator[bool]:
    signal.raise_signal(signal.SIGINT)
    yield True


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal masks")
def test_processes_leave_ctrl_c_to_who_started_them() -> None:
    assert list(in_processes(deaf, 1)) == [True]


def test_processors_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(6)), raising=False)
    assert [processor_share(count) for count in (1, 4, 7)] == [6, 1, 1]


def assert_ended(pids: set[int]) -> None:
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
