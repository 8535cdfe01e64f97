"""Whether this machine has an NVIDIA driver and a GPU, asked of the driver itself.

Creating a TensorRT builder or runtime without a driver can end the process instead of raising,
so this is asked first. No context is made.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bas_edge.errors import BackendError

__all__ = ["Gpu", "find_gpu", "require_gpu"]

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_KERNEL_MODULE = Path("/sys/module/nvidia/version")


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU that the driver shows. Holding one proves that there is a driver.

    Attributes:
        name: As the driver names it, such as "NVIDIA H200".
        compute_capability: (8, 7) on Orin.
        driver: The kernel module's version, such as "580.95.05"; "" where it is not known.
        cuda: The newest CUDA that the driver runs, such as "13.0".
    """

    name: str
    compute_capability: tuple[int, int]
    driver: str
    cuda: str

    @property
    def target(self) -> str:
        """Its architecture, such as "sm_87"."""
        major, minor = self.compute_capability
        return f"sm_{major}{minor}"


def find_gpu() -> Gpu | str:
    """The GPU, or one sentence on why there is none. Raises nothing."""
    try:
        cuda: Any = ctypes.CDLL(_LIBRARY)
    except OSError:
        return f"This machine has no NVIDIA driver: {_LIBRARY} cannot be loaded."
    if (code := cuda.cuInit(0)) != 0:
        return f"The NVIDIA driver does not start: cuInit gave the error {code}."
    count = ctypes.c_int(0)
    if cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "The NVIDIA driver shows no GPU."
    device, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
    major, minor, version = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    codes = (
        cuda.cuDeviceGet(ctypes.byref(device), 0),
        cuda.cuDeviceGetName(name, len(name), device),
        cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device),
        cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device),
        cuda.cuDriverGetVersion(ctypes.byref(version)),
    )
    if any(codes):
        return f"The NVIDIA driver does not describe its GPU: error {max(codes)}."
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=(major.value, minor.value),
        driver=_driver_version(),
        cuda=f"{version.value // 1000}.{version.value % 1000 // 10}",
    )


def require_gpu(purpose: str, *, hint: str) -> Gpu:
    """The GPU.

    Raises:
        BackendError: There is none; `purpose` begins the message, `hint` says what else works.
    """
    found = find_gpu()
    if isinstance(found, str):
        raise BackendError(f"{purpose} needs an NVIDIA GPU. {found}", hint=hint)
    return found


def _driver_version() -> str:
    try:
        return _KERNEL_MODULE.read_text(encoding="ascii").strip()
    except OSError:
        return ""
