"""The device layer over cuda-python; the only file that imports it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from bas_edge._require import require
from bas_edge.backends._cuda_driver import DriverCallError
from bas_edge.errors import BackendError, MissingExtraError

__all__ = ["CudaPythonCalls", "load"]

_PURPOSE = "Using a CUDA GPU"


def load(driver_cuda: tuple[int, int]) -> ModuleType:
    """The bindings of the driver, which must be of its CUDA major version or older.

    Raises:
        MissingExtraError: cuda-python is not installed.
        BackendError: It is made for a newer CUDA than the driver runs.
    """
    try:
        module = require("cuda.bindings.driver", extra="cuda", purpose=_PURPOSE)
    except MissingExtraError as missing:
        try:
            module = require("cuda.cuda", extra="cuda", purpose=_PURPOSE)  # before 12.6
        except MissingExtraError:
            raise missing from None
    made_for = int(module.CUDA_VERSION) // 1000
    if made_for > driver_cuda[0]:
        raise BackendError(
            f"cuda-python is for CUDA {made_for}, but the driver of this machine runs CUDA "
            f"{driver_cuda[0]}.{driver_cuda[1]}.",
            hint=f"pip install 'cuda-python=={driver_cuda[0]}.*'",
        )
    return module


class CudaPythonCalls:
    """See `_cuda_context.Calls`."""

    def __init__(self, index: int, module: ModuleType) -> None:
        self._cuda = module
        self._call(module.cuInit, 0)
        self._device = self._call(module.cuDeviceGet, index)
        attribute = module.CUdevice_attribute
        name: bytes = self._call(module.cuDeviceGetName, 256, self._device)
        self.name = name.split(b"\0")[0].decode("utf-8", "replace")
        self.compute_capability = (
            self._attribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            self._attribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )
        self.is_integrated = bool(
            self._attribute(attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED)
            and self._attribute(attribute.CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY)
        )
        self._context = self._call(module.cuDevicePrimaryCtxRetain, self._device)

    def push(self) -> int:
        self._call(self._cuda.cuCtxPushCurrent, self._context)
        return 0

    def pop(self, before: int) -> None:  # noqa: ARG002 - pycuda's needs it
        self._call(self._cuda.cuCtxPopCurrent)

    def release(self) -> None:
        self._call(self._cuda.cuDevicePrimaryCtxRelease, self._device)

    def memory_info(self) -> tuple[int, int]:
        free, total = self._call(self._cuda.cuMemGetInfo)
        return int(free), int(total)

    def alloc(self, size_bytes: int) -> int:
        return int(self._call(self._cuda.cuMemAlloc, size_bytes))

    def free(self, address: int) -> None:
        self._call(self._cuda.cuMemFree, address)

    def alloc_host(self, size_bytes: int, *, mapped: bool) -> int:
        flags = self._cuda.CU_MEMHOSTALLOC_PORTABLE
        if mapped:
            flags |= self._cuda.CU_MEMHOSTALLOC_DEVICEMAP
        return int(self._call(self._cuda.cuMemHostAlloc, size_bytes, flags))

    def free_host(self, address: int) -> None:
        self._call(self._cuda.cuMemFreeHost, address)

    def device_address(self, host_address: int) -> int:
        return int(self._call(self._cuda.cuMemHostGetDevicePointer, host_address, 0))

    def stream_create(self) -> int:
        flags = self._cuda.CUstream_flags.CU_STREAM_NON_BLOCKING.value
        return int(self._call(self._cuda.cuStreamCreate, flags))

    def stream_destroy(self, stream: int) -> None:
        self._call(self._cuda.cuStreamDestroy, stream)

    def stream_synchronize(self, stream: int) -> None:
        self._call(self._cuda.cuStreamSynchronize, stream)

    def stream_wait(self, stream: int, event: int) -> None:
        self._call(self._cuda.cuStreamWaitEvent, stream, event, 0)

    def upload(self, to_device: int, from_host: int, size_bytes: int, stream: int) -> None:
        self._call(self._cuda.cuMemcpyHtoDAsync, to_device, from_host, size_bytes, stream)

    def download(self, to_host: int, from_device: int, size_bytes: int, stream: int) -> None:
        self._call(self._cuda.cuMemcpyDtoHAsync, to_host, from_device, size_bytes, stream)

    def event_create(self, *, timed: bool) -> int:
        kinds = self._cuda.CUevent_flags
        kind = kinds.CU_EVENT_DEFAULT if timed else kinds.CU_EVENT_DISABLE_TIMING
        return int(self._call(self._cuda.cuEventCreate, kind.value))

    def event_destroy(self, event: int) -> None:
        self._call(self._cuda.cuEventDestroy, event)

    def event_record(self, event: int, stream: int) -> None:
        self._call(self._cuda.cuEventRecord, event, stream)

    def event_is_done(self, event: int) -> bool:
        try:
            self._call(self._cuda.cuEventQuery, event)
        except DriverCallError as error:
            if error.code == int(self._cuda.CUresult.CUDA_ERROR_NOT_READY):
                return False
            raise
        return True

    def event_synchronize(self, event: int) -> None:
        self._call(self._cuda.cuEventSynchronize, event)

    def event_elapsed_ms(self, start: int, end: int) -> float:
        return float(self._call(self._cuda.cuEventElapsedTime, start, end))

    def _attribute(self, attribute: Any) -> int:
        return int(self._call(self._cuda.cuDeviceGetAttribute, attribute, self._device))

    @staticmethod
    def _call(function: Callable[..., Any], *arguments: Any) -> Any:
        code, *results = function(*arguments)
        if int(code):
            raise DriverCallError(int(code))
        return results[0] if len(results) == 1 else results
