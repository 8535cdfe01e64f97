"""The device layer over pycuda; the only file that imports it.

pycuda keeps a stack of contexts of its own in each thread, beside the driver's. Its objects refuse
to work unless that stack has a context, and its push() and pop() lose what another library made
current in the meantime: what was current is looked up before, and put back after.
"""

from __future__ import annotations

import ctypes
import itertools
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from bas_edge._require import require
from bas_edge.backends._cuda_driver import Driver, DriverCallError

__all__ = ["PycudaCalls", "load"]

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, which pycuda has no name for


def load() -> ModuleType:
    """pycuda.driver, with no context made: never pycuda.autoinit.

    Raises:
        MissingExtraError: pycuda is not installed.
    """
    return require("pycuda.driver", extra="pycuda", purpose="Using a CUDA GPU through pycuda")


class PycudaCalls:
    """See `_cuda_context.Calls`.

    pycuda frees an object with its last reference, and only where the context is current: so the
    references are here, by handle, and are dropped by the calls that destroy.
    """

    def __init__(self, index: int, module: ModuleType, driver: Driver) -> None:
        self._cuda = module
        self._driver = driver
        self._index = index
        self._call(module.init)
        device = self._call(module.Device, index)
        attribute = module.device_attribute
        self.name = str(self._call(device.name))
        major, minor = self._call(device.compute_capability)
        self.compute_capability = (int(major), int(minor))
        self.is_integrated = bool(
            self._call(device.get_attribute, attribute.INTEGRATED)
            and self._call(device.get_attribute, attribute.CAN_MAP_HOST_MEMORY)
        )
        self._memory: dict[int, Any] = {}
        self._pinned: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._events: dict[int, Any] = {}
        self._next_event = itertools.count(1)
        self._context = self._call(device.retain_primary_context)

    def push(self) -> int:
        before = self._driver.current_context()
        self._call(self._context.push)
        return before

    def pop(self, before: int) -> None:
        self._call(self._cuda.Context.pop)
        if self._driver.current_context() != before:
            self._driver.call("cuCtxSetCurrent", before)

    def release(self) -> None:
        # detach() in the thread that retained pushes the context, releases it and leaves it on the
        # driver's stack; in any other thread it does nothing at all. What it did is only to be
        # seen where the context was not current before, so that is arranged first.
        own = int(self._context.handle)
        set_aside = 0
        while self._driver.current_context() == own:
            self._pop_from_driver()
            set_aside += 1
        self._call(self._context.detach)
        if self._driver.current_context() == own:
            self._pop_from_driver()
        else:
            self._driver.call("cuDevicePrimaryCtxRelease_v2", self._index)
        for _ in range(set_aside):
            self._driver.call("cuCtxPushCurrent_v2", own)

    def memory_info(self) -> tuple[int, int]:
        free, total = self._call(self._cuda.mem_get_info)
        return int(free), int(total)

    def alloc(self, size_bytes: int) -> int:
        memory = self._call(self._cuda.mem_alloc, size_bytes)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        self._call(self._memory.pop(address).free)

    def alloc_host(self, size_bytes: int, *, mapped: bool) -> int:
        kinds = self._cuda.host_alloc_flags
        flags = kinds.PORTABLE | (kinds.DEVICEMAP if mapped else 0)
        array = self._call(
            self._cuda.pagelocked_empty, size_bytes, np.dtype(np.uint8), mem_flags=flags
        )
        self._pinned[array.ctypes.data] = array.base
        return int(array.ctypes.data)

    def free_host(self, address: int) -> None:
        self._call(self._pinned.pop(address).free)

    def device_address(self, host_address: int) -> int:
        return int(self._call(self._pinned[host_address].get_device_pointer))

    def stream_create(self) -> int:
        stream = self._call(self._cuda.Stream, _NON_BLOCKING)
        self._streams[stream.handle] = stream
        return int(stream.handle)

    def stream_destroy(self, stream: int) -> None:
        del self._streams[stream]

    def stream_synchronize(self, stream: int) -> None:
        self._call(self._streams[stream].synchronize)

    def stream_wait(self, stream: int, event: int) -> None:
        self._call(self._streams[stream].wait_for_event, self._events[event])

    def upload(self, to_device: int, from_host: int, size_bytes: int, stream: int) -> None:
        host = (ctypes.c_char * size_bytes).from_address(from_host)
        self._call(self._cuda.memcpy_htod_async, to_device, host, self._streams[stream])

    def download(self, to_host: int, from_device: int, size_bytes: int, stream: int) -> None:
        host = (ctypes.c_char * size_bytes).from_address(to_host)
        self._call(self._cuda.memcpy_dtoh_async, host, from_device, self._streams[stream])

    def event_create(self, *, timed: bool) -> int:
        kinds = self._cuda.event_flags
        flags = int(kinds.DEFAULT if timed else kinds.DISABLE_TIMING)
        token = next(self._next_event)  # pycuda keeps the handle for itself
        self._events[token] = self._call(self._cuda.Event, flags)
        return token

    def event_destroy(self, event: int) -> None:
        del self._events[event]

    def event_record(self, event: int, stream: int) -> None:
        self._call(self._events[event].record, self._streams[stream])

    def event_is_done(self, event: int) -> bool:
        return bool(self._call(self._events[event].query))

    def event_synchronize(self, event: int) -> None:
        self._call(self._events[event].synchronize)

    def event_elapsed_ms(self, start: int, end: int) -> float:
        return float(self._call(self._events[end].time_since, self._events[start]))

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except self._cuda.Error as error:
            message = str(error)
        # A traceback would keep pycuda's objects alive beyond their context, and so unfreed.
        del function, arguments, options
        raise self._failure(message)

    def _pop_from_driver(self) -> None:
        popped = ctypes.c_void_p()
        self._driver.call("cuCtxPopCurrent_v2", ctypes.byref(popped))

    def _failure(self, message: str) -> DriverCallError:
        # "cuMemAlloc failed: out of memory", or more where pycuda itself refused; no number.
        found = re.search(r"failed: (?P<text>.*?)(?P<more> - .*)?$", message, re.DOTALL)
        code = self._driver.code_of(found["text"]) if found else None
        if found is None or code is None:
            return DriverCallError(None, message)
        return DriverCallError(code, found["text"] + (found["more"] or ""))
