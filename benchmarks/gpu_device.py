"""The GPU to measure on, or the one sentence on why there is none; and its state."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import msgspec

from bas_edge.backends._cuda import driver_state, open_device
from bas_edge.backends._driver import find_gpu
from bas_edge.backends.device import Device
from bas_edge.errors import BackendError, MissingExtraError
from bas_edge.ops.cuda import cuda_build

from .harness import SkippedCaseError
from .timings import Provenance

__all__ = ["open_gpu", "require_gpu", "with_gpu"]

# What a time depends on, as nvidia-smi names it.
_STATE = ("clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.limit",
          "temperature.gpu", "utilization.gpu", "persistence_mode", "mig.mode.current")  # fmt: skip


def require_gpu() -> None:
    """Before anything is prepared for it.

    Raises:
        SkippedCaseError: No GPU, or no CUDA kernels in this installation.
    """
    state = driver_state()
    if not state.available:
        raise SkippedCaseError(f"it needs a GPU. {state.reason}")
    if cuda_build() is None:
        raise SkippedCaseError("there are no CUDA kernels here: build with BAS_EDGE_CUDA=ON")


def open_gpu() -> Device:
    """The first GPU.

    Raises:
        SkippedCaseError: As for `require_gpu`, or there is no Python library for CUDA.
    """
    require_gpu()
    try:
        return open_device()
    except (BackendError, MissingExtraError) as error:
        raise SkippedCaseError(f"it needs a GPU. {error}") from error


def with_gpu(provenance: Provenance) -> Provenance:
    """The same, with the GPU and its clocks among the conditions."""
    found = find_gpu()
    build = cuda_build()
    gpu: dict[str, Any] = {} if isinstance(found, str) else msgspec.to_builtins(
        {"name": found.name, "target": found.target, "driver": found.driver, "cuda": found.cuda}
    )  # fmt: skip
    if build is not None:
        gpu["nvcc"] = build.toolkit
    gpu.update(_state())
    return msgspec.structs.replace(provenance, conditions={**provenance.conditions, "gpu": gpu})


def _state() -> dict[str, str]:
    """What nvidia-smi says of the first GPU; nothing where it is not there (Jetson)."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", f"--query-gpu={','.join(_STATE)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    values = done.stdout.splitlines()[0].split(", ") if done.stdout else []
    return dict(zip(_STATE, values, strict=False))
