"""`cuda.bindings.driver` over the fake driver: what we use of it, and nothing more.

`SURFACE` and `MEMBERS` are checked against the real module where that is installed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from types import ModuleType
from typing import Any

from fakes.cuda_driver import FakeCuda
from fakes.cuda_errors import CODES, FakeCudaError

__all__ = ["CONSTANTS", "HANDLES", "MEMBERS", "SURFACE", "cuda_python_module"]

# Function → how many arguments it takes.
SURFACE = {
    "cuInit": 1,
    "cuDeviceGet": 1,
    "cuDeviceGetName": 2,
    "cuDeviceGetAttribute": 2,
    "cuDevicePrimaryCtxRetain": 1,
    "cuDevicePrimaryCtxRelease": 1,
    "cuCtxPushCurrent": 1,
    "cuCtxPopCurrent": 0,
    "cuMemGetInfo": 0,
    "cuMemAlloc": 1,
    "cuMemFree": 1,
    "cuMemHostAlloc": 2,
    "cuMemFreeHost": 1,
    "cuMemHostGetDevicePointer": 2,
    "cuMemcpyHtoDAsync": 4,
    "cuMemcpyDtoHAsync": 4,
    "cuStreamCreate": 1,
    "cuStreamDestroy": 1,
    "cuStreamSynchronize": 1,
    "cuStreamWaitEvent": 3,
    "cuEventCreate": 1,
    "cuEventDestroy": 1,
    "cuEventRecord": 2,
    "cuEventQuery": 1,
    "cuEventSynchronize": 1,
    "cuEventElapsedTime": 2,
}
# Functions whose result is not a plain number → the class of it.
HANDLES = {
    "cuDeviceGet": "CUdevice",
    "cuDevicePrimaryCtxRetain": "CUcontext",
    "cuCtxPopCurrent": "CUcontext",
    "cuMemAlloc": "CUdeviceptr",
    "cuMemHostGetDevicePointer": "CUdeviceptr",
    "cuStreamCreate": "CUstream",
    "cuEventCreate": "CUevent",
}
MEMBERS = {
    "CUdevice_attribute": {
        "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": 75,
        "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": 76,
        "CU_DEVICE_ATTRIBUTE_INTEGRATED": 18,
        "CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY": 19,
    },
    "CUstream_flags": {"CU_STREAM_NON_BLOCKING": 1},
    "CUevent_flags": {"CU_EVENT_DEFAULT": 0, "CU_EVENT_DISABLE_TIMING": 2},
}
CONSTANTS = {"CU_MEMHOSTALLOC_PORTABLE": 1, "CU_MEMHOSTALLOC_DEVICEMAP": 2}


class Handle:
    """As the real handle classes: no number, but turned into one by int()."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __int__(self) -> int:
        return self._value


def cuda_python_module(cuda: FakeCuda, *, made_for: int = 13000) -> ModuleType:
    """A module to stand for `cuda.bindings.driver`."""
    module = ModuleType("cuda.bindings.driver")
    result = enum.IntEnum("CUresult", {name: code for code, (name, _) in CODES.items()})
    classes = {name: type(name, (Handle,), {}) for name in HANDLES.values()}
    members = {name: enum.IntEnum(name, values) for name, values in MEMBERS.items()}
    functions = {name: _function(cuda, name, result, classes) for name in SURFACE}
    rest = {"CUDA_VERSION": made_for, "CUresult": result}
    module.__dict__.update(functions | classes | members | CONSTANTS | rest)
    return module


def _function(
    cuda: FakeCuda, name: str, result: Any, classes: dict[str, type[Handle]]
) -> Callable[..., tuple[Any, ...]]:
    def call(*arguments: Any) -> tuple[Any, ...]:
        assert len(arguments) == SURFACE[name], f"{name} takes {SURFACE[name]} arguments"
        empty = 2 if name == "cuMemGetInfo" else int(name in HANDLES or name in RETURNING)
        try:
            value = getattr(cuda, name)(*map(int, arguments))
        except FakeCudaError as error:
            return (result(error.code), *[None] * empty)
        if name in HANDLES:
            return (result(0), classes[HANDLES[name]](value))
        if name == "cuMemGetInfo":
            return (result(0), *value)
        return (result(0), value) if empty else (result(0),)

    return call


RETURNING = {"cuDeviceGetName", "cuDeviceGetAttribute", "cuMemHostAlloc", "cuEventElapsedTime"}
