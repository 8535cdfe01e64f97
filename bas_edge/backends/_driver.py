"""The GPU that plans are built for, as the driver describes it.

Creating a TensorRT builder or runtime without a driver can end the process instead of raising,
so this is asked first. No context is made.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

from bas_edge.backends import _cuda_driver
from bas_edge.backends._cuda import driver_state
from bas_edge.errors import BackendError

__all__ = ["Gpu", "find_gpu", "require_gpu"]

_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
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
    state = driver_state()
    if not state.available or state.cuda is None:
        return state.reason
    driver = _cuda_driver.driver()
    name = ctypes.create_string_buffer(256)
    try:
        device = driver.number("cuDeviceGet", 0)
        driver.call("cuDeviceGetName", name, len(name), device)
        major, minor = (driver.number("cuDeviceGetAttribute", at, device) for at in _CAPABILITY)
    except _cuda_driver.DriverCallError as error:
        return str(_cuda_driver.backend_error(driver, "asking for the GPU", error))
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=(major, minor),
        driver=_driver_version(),
        cuda="{}.{}".format(*state.cuda),
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
