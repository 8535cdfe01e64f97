"""One GPU and its memory, over any library of CUDA that `_cuda_context.Calls` describes."""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends._cuda_context import Calls, Context
from bas_edge.backends._cuda_driver import Driver, DriverCallError
from bas_edge.backends._cuda_streams import CudaEvent, CudaStream
from bas_edge.errors import BackendError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CudaBuffer", "CudaDevice", "CudaStaging"]

_ORDINAL = 9  # CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL


class CudaBuffer:
    """Device memory; see `device.DeviceBuffer`."""

    def __init__(self, device: CudaDevice, size_bytes: int) -> None:
        context = device.context
        with context.entered(f"allocating {size_bytes} bytes on the GPU") as calls:
            address = calls.alloc(max(size_bytes, 1))  # CUDA refuses 0 bytes
        self._device = device  # kept open as long as this is in use
        self._address: int | None = address
        self._size_bytes = size_bytes
        self._give_back = context.track(self, functools.partial(calls.free, address))

    @property
    def address(self) -> int:
        if self._address is None or self._device.is_closed:
            raise BackendError("This GPU memory was freed, or its device was closed.")
        return self._address

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def free(self) -> None:
        self._address = None
        self._give_back()


class CudaStaging:
    """Page-locked host memory; see `device.Staging`."""

    def __init__(self, device: CudaDevice, size_bytes: int) -> None:
        context = device.context
        with context.entered(f"allocating {size_bytes} bytes of page-locked memory") as calls:
            mapped = device.is_integrated
            address = calls.alloc_host(max(size_bytes, 1), mapped=mapped)
            self._memory = (ctypes.c_uint8 * max(size_bytes, 1)).from_address(address)
            # Arrays made of it keep `_memory`, so the driver gets it back after the last of them.
            give_back = functools.partial(calls.free_host, address)
            context.track(self._memory, give_back, pin=True)
            self._device_address = calls.device_address(address) if mapped else None
        self._device = device
        self._address = address
        self._size_bytes = size_bytes
        device.add_staging(self)

    @property
    def array(self) -> NDArray[np.uint8]:
        return np.ndarray((self._size_bytes,), np.uint8, buffer=memoryview(self._alive()))

    @property
    def address(self) -> int:
        self._alive()
        return self._address

    @property
    def device_address(self) -> int | None:
        self._alive()
        return self._device_address

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def free(self) -> None:
        if hasattr(self, "_memory"):
            del self._memory

    def _alive(self) -> ctypes.Array[ctypes.c_uint8]:
        try:
            return self._memory
        except AttributeError:
            sentence = "This page-locked memory was freed, or its device was closed."
            raise BackendError(sentence) from None


class CudaDevice:
    """One GPU; see `device.Device`. Closed when collected, and when Python ends."""

    def __init__(
        self, index: int, calls: Calls, driver: Driver, driver_cuda: tuple[int, int]
    ) -> None:
        self._index = index
        self._calls = calls
        self._driver_cuda = driver_cuda
        self._stagings: weakref.WeakSet[CudaStaging] = weakref.WeakSet()
        self.context = Context(calls, driver)
        self._close: Callable[[], object] = weakref.finalize(
            self, _close, self.context, self._stagings
        )

    @property
    def index(self) -> int:
        return self._index

    @property
    def name(self) -> str:
        return self._calls.name

    @property
    def compute_capability(self) -> tuple[int, int]:
        return self._calls.compute_capability

    @property
    def driver_cuda(self) -> tuple[int, int]:
        return self._driver_cuda

    @property
    def is_integrated(self) -> bool:
        return self._calls.is_integrated

    @property
    def is_closed(self) -> bool:
        return self.context.is_closed

    def memory_bytes(self) -> tuple[int, int]:
        with self.context.entered("asking for the free memory of the GPU") as calls:
            return calls.memory_info()

    def index_of(self, address: int) -> int | None:
        with self.context.entered("asking on which GPU memory lies"):
            try:
                return self.context.driver.number("cuPointerGetAttribute", _ORDINAL, address)
            except DriverCallError:  # memory that no driver knows of
                return None

    def current(self) -> AbstractContextManager[None]:
        return self._current()

    @contextmanager
    def _current(self) -> Iterator[None]:
        with self.context.entered("making the GPU context current"):
            yield

    def buffer(self, size_bytes: int) -> CudaBuffer:
        return CudaBuffer(self, _checked(size_bytes))

    def staging(self, size_bytes: int) -> CudaStaging:
        return CudaStaging(self, _checked(size_bytes))

    def stream(self) -> CudaStream:
        return CudaStream(self, self.context)

    def event(self, *, timed: bool = False) -> CudaEvent:
        return CudaEvent(self, self.context, timed=timed)

    def add_staging(self, staging: CudaStaging) -> None:
        """Have close() free `staging`."""
        self._stagings.add(staging)

    def close(self) -> None:
        self._close()


def _close(context: Context, stagings: weakref.WeakSet[CudaStaging]) -> None:
    context.close()  # which waits for the streams, whose work may use staging
    for staging in list(stagings):
        staging.free()


def _checked(size_bytes: int) -> int:
    if size_bytes < 0:
        raise InputError(f"size_bytes is {size_bytes}, but must be at least 0.")
    return size_bytes
