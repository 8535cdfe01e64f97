"""The machine a run has: device, threads, memory allocator, and the request to stop."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import FrameType

import torch

from bas_edge.errors import InputError
from bas_edge.processes import processor_share
from bas_edge.signals import asked_to_end
from bas_edge_training.recipe import Recipe
from bas_edge_training.team import ALONE, Team

__all__ = [
    "StopRequest",
    "keep_freed_memory",
    "resolve_device",
    "share_of_cores",
    "torch_settings",
]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def resolve_device(name: str, team: Team = ALONE) -> torch.device:
    """The device of a name; `auto` is the first CUDA device, or the CPU where there is none.

    Of several processes on a machine each has a CUDA device of its own, the current one from now
    on.

    Raises:
        InputError: A CUDA device is asked for that this machine or this torch does not have, or
            the same one for several processes.
    """
    count = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if count else "cpu"
    device = torch.device(name)
    if team.size > 1 and device.type == "cuda":
        if ":" in name:
            raise InputError(
                f"machine.device is {name}, but {team.size} processes need a device each.",
                hint="Use --set machine.device=cuda, and CUDA_VISIBLE_DEVICES to choose some.",
            )
        if team.local_size > count:
            raise InputError(
                f"{team.local_size} processes are to train on this machine, but torch sees "
                f"{count} CUDA devices.",
                hint=f"Start torchrun with --nproc-per-node {count}, or train on the CPU: "
                "--set machine.device=cpu",
            )
        device = torch.device("cuda", team.local_rank)
        torch.cuda.set_device(device)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise InputError(
            f"machine.device is {name}, but torch sees {count} CUDA devices.",
            hint="Use --set machine.device=cpu, or install a torch built for CUDA.",
        )
    return device


@contextlib.contextmanager
def torch_settings(recipe: Recipe, team: Team = ALONE) -> Iterator[None]:
    """Seed, thread count and the deterministic switch; the last two are restored afterwards."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.manual_seed(recipe.training.seed)
    if recipe.training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True)
    try:
        with share_of_cores(team, recipe.machine.threads):
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


@contextlib.contextmanager
def share_of_cores(team: Team, threads: int = 0) -> Iterator[None]:
    """So many threads of torch; 0 divides the cores of a machine among its processes.

    torchrun itself gives each of them one.
    """
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    elif team.size > 1 and os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(processor_share(team.local_size))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks instead of returning them to the kernel.

    A step on the CPU frees and takes back some GB of activations; fresh pages for them cost
    about a third of its time. Affects the whole process; returns False where malloc is not
    glibc's (musl, macOS, Windows) and nothing was done.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    accepted = libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    return bool(accepted)


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a request, so that no step is left half done.

    The second acts at once. With several processes it does not, as torchrun hands on what the
    terminal has sent already: only the third does. Outside the main thread nothing is intercepted.
    """

    def __init__(self, team: Team = ALONE) -> None:
        self.requested = False
        self.patient = team.size > 1
        self._stack = contextlib.ExitStack()

    def entries(self) -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
        """What to enter before processes meet, and around the run alone; one of both is this.

        Where torchrun stops a team, its processes still have to tell each other how they end. One
        process is stopped at once while it reads its data.
        """
        nothing = contextlib.nullcontext()
        return (self, nothing) if self.patient else (nothing, self)

    def __enter__(self) -> StopRequest:
        if self.patient:
            self._stack.enter_context(asked_to_end(self._ask))
        elif threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._stack.callback(signal.signal, number, signal.signal(number, self._handle))
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def _ask(self) -> None:
        self.requested = True

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        self._stack.close()
