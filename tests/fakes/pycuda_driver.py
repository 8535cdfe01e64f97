"""`pycuda.driver` over the fake driver: what we use of it, with its own stack of contexts.

Its objects refuse to be made, and quietly stay unfreed, where pycuda's real ones do: read off
pycuda 2026.1, src/cpp/cuda.hpp.
"""

from __future__ import annotations

import ctypes
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from fakes.cuda_driver import FakeCuda
from fakes.cuda_errors import FakeCudaError

__all__ = ["pycuda_module"]


def pycuda_module(cuda: FakeCuda) -> ModuleType:
    """A module to stand for `pycuda.driver`; `module.stacks` is what a test looks at."""
    stacks: dict[int, list[Context]] = {}

    class Error(Exception):
        pass

    class LogicError(Error):
        pass

    class MemoryError(Error):  # noqa: A001 - pycuda's name
        pass

    class RuntimeError(Error):  # noqa: A001 - pycuda's name
        pass

    def call(function: str, *arguments: Any) -> Any:
        try:
            return getattr(cuda, function)(*arguments)
        except FakeCudaError as error:
            kind = {2: MemoryError, 100: RuntimeError, 600: RuntimeError, 999: Error}
            raise kind.get(error.code, LogicError)(f"{function} failed: {error.args[1]}") from None

    def stack() -> list[Context]:
        return stacks.setdefault(threading.get_ident(), [])

    def top(without: Context | None = None) -> Context | None:
        here = stack()
        while here and (here[-1] is without or not here[-1].valid):
            here.pop()
        return here[-1] if here else None

    class Context:
        def __init__(self, device: int) -> None:
            self.handle = call("cuDevicePrimaryCtxRetain", device)
            self.device = device
            self.valid = True
            self.thread = threading.get_ident()

        def push(self) -> None:
            if stack():
                call("cuCtxPopCurrent")
            call("cuCtxPushCurrent", self.handle)
            stack().append(self)

        @staticmethod
        def pop() -> None:
            if not stack():
                raise LogicError("context::pop failed: invalid device context - empty stack")
            call("cuCtxPopCurrent")
            stack().pop()
            below = top()
            if below is not None:
                call("cuCtxPushCurrent", below.handle)

        def detach(self) -> None:
            if not self.valid:
                raise LogicError("context::detach failed: invalid device context - invalid")
            active = top() is self
            if active:
                call("cuDevicePrimaryCtxRelease", self.device)
            elif self.thread == threading.get_ident():
                call("cuCtxPushCurrent", self.handle)
                call("cuDevicePrimaryCtxRelease", self.device)
            self.valid = False
            below = top(self) if active else None
            if below is not None:
                call("cuCtxPushCurrent", below.handle)

    class Ward:
        """Belongs to the context that is current when it is made; freed with its last reference."""

        def __init__(self, give_back: str, handle: int) -> None:
            self._give_back = give_back
            self._handle = handle
            self._context = top()

        def free(self) -> None:
            context, self._context = self._context, None
            if context is None:
                raise LogicError("free failed: invalid resource handle")
            if top() is context:
                call(self._give_back, self._handle)
            elif context.valid and context.thread == threading.get_ident():
                context.push()
                call(self._give_back, self._handle)
                Context.pop()

        def __del__(self) -> None:
            if getattr(self, "_context", None) is not None:
                self.free()

    def make(function: str, *arguments: Any) -> Any:
        if top() is None:
            why = "explicit_context_dependent failed: invalid device context"
            raise LogicError(f"{why} - no currently active context?")
        return call(function, *arguments)

    class DeviceAllocation(Ward):
        def __int__(self) -> int:
            return self._handle

    class PagelockedHostAllocation(Ward):
        def get_device_pointer(self) -> int:
            return call("cuMemHostGetDevicePointer", self._handle, 0)

    class Event(Ward):
        def __init__(self, flags: int = 0) -> None:
            super().__init__("cuEventDestroy", make("cuEventCreate", flags))

        def record(self, stream: Stream) -> Event:
            call("cuEventRecord", self._handle, stream.handle)
            return self

        def synchronize(self) -> Event:
            call("cuEventSynchronize", self._handle)
            return self

        def query(self) -> bool:
            try:
                cuda.cuEventQuery(self._handle)
            except FakeCudaError:
                return False
            return True

        def time_since(self, start: Event) -> float:
            return call("cuEventElapsedTime", start._handle, self._handle)

    class Stream(Ward):
        def __init__(self, flags: int = 0) -> None:
            super().__init__("cuStreamDestroy", make("cuStreamCreate", flags))

        @property
        def handle(self) -> int:
            return self._handle

        def synchronize(self) -> None:
            call("cuStreamSynchronize", self._handle)

        def wait_for_event(self, event: Event) -> None:
            call("cuStreamWaitEvent", self._handle, event._handle, 0)

    class Device:
        def __init__(self, index: int) -> None:
            self._index = call("cuDeviceGet", index)

        def name(self) -> str:
            return call("cuDeviceGetName", 1024, self._index).split(b"\0")[0].decode()

        def compute_capability(self) -> tuple[int, int]:
            return self.get_attribute(75), self.get_attribute(76)

        def get_attribute(self, attribute: int) -> int:
            return call("cuDeviceGetAttribute", attribute, self._index)

        def retain_primary_context(self) -> Context:
            return Context(self._index)

    def pagelocked_empty(shape: int, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
        address = make("cuMemHostAlloc", shape * np.dtype(dtype).itemsize, mem_flags)
        memory = (ctypes.c_uint8 * shape).from_address(address)
        owner = PagelockedHostAllocation("cuMemFreeHost", address)
        return SimpleNamespace(base=owner, ctypes=SimpleNamespace(data=address), memory=memory)

    def host(buffer: Any) -> tuple[int, int]:
        view = memoryview(buffer).cast("B")
        return ctypes.addressof(ctypes.c_char.from_buffer(view)), view.nbytes

    def memcpy_htod_async(device: int, source: Any, stream: Stream) -> None:
        address, size = host(source)
        call("cuMemcpyHtoDAsync", int(device), address, size, stream.handle)

    def memcpy_dtoh_async(target: Any, device: int, stream: Stream) -> None:
        address, size = host(target)
        call("cuMemcpyDtoHAsync", address, int(device), size, stream.handle)

    module = ModuleType("pycuda.driver")
    module.__dict__.update(
        {
            "stacks": stacks,
            "Error": Error,
            "LogicError": LogicError,
            "MemoryError": MemoryError,
            "RuntimeError": RuntimeError,
            "Context": Context,
            "Device": Device,
            "Event": Event,
            "Stream": Stream,
            "init": lambda flags=0: call("cuInit", flags),
            "mem_alloc": lambda size: DeviceAllocation("cuMemFree", make("cuMemAlloc", size)),
            "mem_get_info": lambda: call("cuMemGetInfo"),
            "pagelocked_empty": pagelocked_empty,
            "memcpy_htod_async": memcpy_htod_async,
            "memcpy_dtoh_async": memcpy_dtoh_async,
            "host_alloc_flags": SimpleNamespace(PORTABLE=1, DEVICEMAP=2),
            "event_flags": SimpleNamespace(DEFAULT=0, DISABLE_TIMING=2),
            "device_attribute": SimpleNamespace(INTEGRATED=18, CAN_MAP_HOST_MEMORY=19),
        }
    )
    return module
