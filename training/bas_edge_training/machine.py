"""The machine a run has: device, threads, memory allocator, and the request to stop."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch

from bas_edge.errors import InputError
from bas_edge_training.recipe import Recipe

__all__ = ["StopRequest", "keep_freed_memory", "resolve_device", "torch_settings"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def resolve_device(name: str) -> torch.device:
    """The device of a name; `auto` is the first CUDA device, or the CPU where there is none.

    Raises:
        InputError: A CUDA device is asked for that this machine or this torch does not have.
    """
    count = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if count else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise InputError(
            f"machine.device is {name}, but torch sees {count} CUDA devices.",
            hint="Use --set machine.device=cpu, or install a torch built for CUDA.",
        )
    return device


@contextlib.contextmanager
def torch_settings(recipe: Recipe) -> Iterator[None]:
    """Seed, thread count and the deterministic switch; the last two are restored afterwards."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.manual_seed(recipe.training.seed)
    if recipe.machine.threads:
        torch.set_num_threads(recipe.machine.threads)
    if recipe.training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


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
    """Turns the first Ctrl-C into a request, so that no step is left half done.

    A second Ctrl-C interrupts at once. Outside the main thread nothing is intercepted.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Callable[[int, FrameType | None], Any] | int | None = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *details: object) -> None:
        self._restore()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
