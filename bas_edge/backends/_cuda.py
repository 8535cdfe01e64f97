"""Whether CUDA works here, and the door to its devices."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from bas_edge.backends import _cuda_driver, _cuda_python, _pycuda
from bas_edge.backends._cuda_context import Calls
from bas_edge.backends._cuda_device import CudaDevice
from bas_edge.backends._cuda_driver import Driver, DriverCallError, backend_error
from bas_edge.backends.device import Device
from bas_edge.errors import BackendError, InputError, MissingExtraError

__all__ = ["OLDEST_CUDA", "DriverState", "driver_state", "open_device"]

OLDEST_CUDA = (11, 4)  # the first with cuGraphInstantiateWithFlags
LIBRARIES = ("auto", "pycuda", "cuda-python")

# What cuInit answers on machines where it fails → (what is wrong, what to do).
_REFUSALS = {
    3: (
        "CUDA was in use before this process was forked, which it does not survive.",
        "Start worker processes by 'spawn'.",
    ),
    34: (
        "The libcuda that was found is the toolkit's stub, not a driver.",
        "Take the folder 'stubs' out of LD_LIBRARY_PATH.",
    ),
    46: (
        "The GPU is in use by a process that holds it for itself.",
        "nvidia-smi lists the processes and the compute mode.",
    ),
    100: (
        "The NVIDIA driver shows no GPU to this process.",
        "CUDA_VISIBLE_DEVICES hides GPUs; a container needs --gpus all or --runtime nvidia.",
    ),
    802: (
        "The GPUs of this machine are not ready.",
        "Start the service nvidia-fabricmanager.",
    ),
    803: (
        "The NVIDIA kernel module and libcuda are of different versions.",
        "Restart the machine, as after every update of the driver.",
    ),
    804: (
        "The CUDA compatibility package does not support this GPU.",
        "Remove cuda-compat, or update the driver.",
    ),
    999: (
        "The NVIDIA driver does not start.",
        "Restart the machine; without that, 'sudo modprobe nvidia_uvm' may do.",
    ),
}

# Only what can no longer change is kept: a process forked from this one has to ask again.
_known: dict[tuple[int, Driver], DriverState] = {}


@dataclass(frozen=True, slots=True)
class DriverState:
    """Whether the CUDA driver of this machine works.

    Attributes:
        available: It does, and has a device.
        cuda: The newest CUDA that the driver runs, such as (13, 0); None without a driver.
        devices: How many devices this process sees.
        reason: Why it is not available, in a sentence; empty when it is.
        hint: One thing to do about that; empty where there is nothing to say.
    """

    available: bool
    cuda: tuple[int, int] | None
    devices: int
    reason: str
    hint: str = ""


def driver_state() -> DriverState:
    """Ask the driver, without any library but itself. Makes no context, raises nothing."""
    try:
        driver = _cuda_driver.driver()
    except OSError as error:
        return DriverState(
            False,
            None,
            0,
            f"There is no NVIDIA driver here: {error}.",
            "Without an NVIDIA GPU use the backend 'onnxruntime'; with one install its driver from "
            "nvidia.com/drivers (on Jetson it is a part of JetPack).",
        )
    key = (os.getpid(), driver)
    state = _known.get(key) or _ask(driver)
    if state.available:
        _known[key] = state
    return state


def open_device(
    index: int = 0, *, library: Literal["auto", "pycuda", "cuda-python"] = "auto"
) -> Device:
    """Open one GPU.

    Args:
        index: As CUDA numbers the devices that this process sees, from 0.
        library: "auto" takes pycuda where it is installed, and cuda-python elsewhere.

    Raises:
        InputError: No such library is known.
        BackendError: No driver, no such device, or the driver refuses it.
        MissingExtraError: The library is not installed.
        ImportError: It is installed, but does not load.
    """
    if library not in LIBRARIES:
        raise InputError(
            f"Unknown CUDA library '{library}'.", hint=f"Known: {', '.join(LIBRARIES)}"
        )
    state = driver_state()
    if not state.available or state.cuda is None:
        raise BackendError(state.reason, hint=state.hint or None)
    if not 0 <= index < state.devices:
        raise BackendError(
            f"Device {index} does not exist: this machine has {state.devices}.",
            hint=f"They are numbered 0 to {state.devices - 1}; CUDA_VISIBLE_DEVICES hides others.",
        )
    driver = _cuda_driver.driver()
    try:
        calls = _calls(index, library, driver, state.cuda)
    except DriverCallError as error:
        raise backend_error(driver, f"opening device {index}", error) from None
    return CudaDevice(index, calls, driver, state.cuda)


def _calls(index: int, library: str, driver: Driver, cuda: tuple[int, int]) -> Calls:
    if library != "cuda-python":
        try:
            return _pycuda.PycudaCalls(index, _pycuda.load(), driver)
        except MissingExtraError:
            if library == "pycuda":
                raise
    return _cuda_python.CudaPythonCalls(index, _cuda_python.load(cuda))


def _ask(driver: Driver) -> DriverState:
    cuda = None
    try:
        version = driver.number("cuDriverGetVersion")
        cuda = (version // 1000, version % 1000 // 10)
        driver.call("cuInit", 0)
        devices = driver.number("cuDeviceGetCount")
        if devices == 0:
            raise DriverCallError(100)
    except DriverCallError as error:
        code = error.code or 0
        name, text = driver.words(code)
        reason, hint = _REFUSALS.get(code, (f"The NVIDIA driver does not start: {text}.", ""))
        return DriverState(False, cuda, 0, f"{reason[:-1]} ({name}, {code}).", hint)
    if cuda < OLDEST_CUDA:
        reason = f"The driver runs CUDA {cuda[0]}.{cuda[1]}, but {OLDEST_CUDA[0]}.{OLDEST_CUDA[1]}"
        reason += " is the oldest that works."
        return DriverState(False, cuda, devices, reason, "Update the NVIDIA driver.")
    return DriverState(True, cuda, devices, "")
