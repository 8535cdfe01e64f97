"""A machine with a GPU as a process sees it: the driver and both libraries of CUDA, all fakes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bas_edge.backends import _cuda_driver
from bas_edge.backends._cuda import open_device
from bas_edge.backends.device import Device
from fakes.cuda_driver import FakeCuda
from fakes.cuda_python import cuda_python_module
from fakes.libcuda import libcuda
from fakes.pycuda_driver import pycuda_module

__all__ = ["Machine", "fake_machine"]


class Machine:
    """Opens devices by one library. `cuda` is the fake driver, or None on a real GPU."""

    def __init__(self, library: str, cuda: FakeCuda | None, pycuda: Any = None) -> None:
        self.library = library
        self.cuda = cuda
        self.pycuda = pycuda
        self.opened: list[Device] = []

    def open(self, index: int = 0) -> Device:
        device = open_device(index, library=self.library)
        self.opened.append(device)
        return device

    def current_context(self) -> int:
        return _cuda_driver.driver().current_context()


@contextmanager
def fake_machine(
    library: str, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Iterator[Machine]:
    """A machine whose driver and libraries are fakes; at the end nothing may be left behind."""
    cuda = FakeCuda(**options)
    driver = _cuda_driver.Driver(libcuda(cuda))
    pycuda = pycuda_module(cuda)
    monkeypatch.setattr(_cuda_driver, "driver", lambda: driver)
    bindings = cuda_python_module(cuda, made_for=cuda.cuda[0] * 1000)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", bindings)
    monkeypatch.setitem(sys.modules, "pycuda.driver", pycuda)
    machine = Machine(library, cuda, pycuda)
    yield machine
    for device in machine.opened:
        device.close()
    cuda.check()
    assert not any(pycuda.stacks.values()), "pycuda: the context stack was not empty"
