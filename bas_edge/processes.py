"""Work shared among processes of this machine, whose results come back as they are made."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from bas_edge.errors import BasEdgeError, InputError

__all__ = ["check_processes", "in_processes", "processor_share"]

_ENDING_S = 10.0  # that a process may take to end once its work is done

T = TypeVar("T")


class _End:
    """What a process says last; without it, it was ended."""


def in_processes(work: Callable[[int, int], Iterable[T]], count: int) -> Generator[T, None, None]:
    """What `work(rank, count)` yields in each of `count` new processes, in the order it comes.

    Close the generator when it is left early: that ends the processes.

    Args:
        work: Of the top level of a module, or a dataclass or partial of such: it is pickled, as is
            what it yields. Each process imports the program's main module, whose work must stand
            below `if __name__ == "__main__"`.
        count: At least 1. One process too is a new one.

    Raises:
        BasEdgeError: Whatever one of them raised, which ends the others, or one was ended.
    """
    context = multiprocessing.get_context("spawn")  # threads and CUDA do not survive a fork
    started: dict[Any, tuple[int, BaseProcess]] = {}  # by the end of the pipe that is here
    try:
        for rank in range(count):
            inlet, outlet = context.Pipe(duplex=False)
            process: BaseProcess = context.Process(
                target=_run, args=(outlet, work, rank, count), name=f"process {rank}", daemon=True
            )
            with _deaf_to_ctrl_c():
                process.start()
                outlet.close()  # the process has the only one, so that its end is heard
                started[inlet] = (rank, process)
        talking = list(started)
        while talking:
            ready: Any  # what wait() may return is more than a connection
            for ready in wait(talking):
                try:
                    said = ready.recv()
                except EOFError:
                    raise _ended(*started[ready], count) from None
                if isinstance(said, BasEdgeError):
                    raise said
                if isinstance(said, _End):
                    talking.remove(ready)
                else:
                    yield said
        for _, process in started.values():
            process.join(_ENDING_S)
    finally:
        for inlet, (_, process) in started.items():
            process.terminate()
            process.join()
            inlet.close()


def check_processes(count: int) -> None:
    """Refuse what is no number of processes.

    Raises:
        InputError: It is less than 1.
    """
    if count < 1:
        raise InputError(
            f"processes is {count}, but must be 1 or more.",
            hint="Leave processes out, and this one does all of it.",
        )


def processor_share(count: int) -> int:
    """How many of the processors that this process may use are for each of `count`; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // count)


def _run(outlet: Connection, work: Callable[[int, int], Iterable[T]], rank: int, size: int) -> None:
    if rank:  # the first one's warnings are those of all
        logging.getLogger("bas_edge").setLevel(logging.ERROR)
    with contextlib.suppress(BrokenPipeError):  # who wanted it has gone
        try:
            for made in work(rank, size):
                outlet.send(made)
        except BasEdgeError as error:
            outlet.send(error)
        else:
            outlet.send(_End())


def _ended(rank: int, process: BaseProcess, count: int) -> BasEdgeError:
    process.join()
    code = process.exitcode or 0
    how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
    return BasEdgeError(
        f"Process {rank} of {count} (counted from 0) {how} before its work was done.",
        hint="Use fewer processes where memory ran out; its own last output stands above.",
    )


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """What is started here never hears Ctrl-C, which reaches all processes of a terminal.

    This one hears it when the block ends, as what is half started could not be ended.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # else a start does it, and unblocks Ctrl-C
    heard: list[int] = []
    former = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what is started inherits it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, former)
    if heard:
        signal.raise_signal(signal.SIGINT)
