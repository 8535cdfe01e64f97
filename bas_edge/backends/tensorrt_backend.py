"""TensorRT: plans for the GPU of this machine.

The only file that imports tensorrt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bas_edge._require import require
from bas_edge.backends._driver import require_gpu
from bas_edge.backends._tensorrt_build import PlanBuilder, hardware_level
from bas_edge.backends._tensorrt_common import load_plan
from bas_edge.backends._tensorrt_runtime import TensorRTPlan
from bas_edge.backends.device import Device
from bas_edge.errors import InputError

__all__ = ["library_version", "open_plan", "plan_builder"]


def library_version() -> str:
    """The installed version of TensorRT."""
    return str(_tensorrt().__version__)


def plan_builder(
    *,
    targets: tuple[str, ...] = (),
    hardware_compat: str = "none",
    timing_cache: Path | None = None,
) -> PlanBuilder:
    """Check what is asked for, before any work is done for it.

    Raises:
        MissingExtraError: TensorRT is not installed.
        InputError: Targets, or a compatibility level that this TensorRT lacks.
        BackendError: There is no driver or GPU: TensorRT builds for the GPU that it runs on.
    """
    if targets:
        raise InputError(
            f"TensorRT builds for the GPU of this machine only; --target is {', '.join(targets)}.",
            hint="Leave --target out, or build for other GPUs with --backend tensorrt_rtx.",
        )
    gpu = require_gpu(
        "Building with TensorRT",
        hint="Build on the machine that will run the engine; --backend tensorrt_rtx builds "
        "without a GPU.",
    )
    trt = _tensorrt()
    if hardware_compat != "none":
        hardware_level(trt, hardware_compat)
    return PlanBuilder(
        backend="tensorrt",
        trt=trt,
        targets=(gpu.target,),
        gpu=gpu,
        hardware_compat=hardware_compat,
        timing_cache=timing_cache,
    )


def open_plan(path: Path, device: Device, *, rebuild: str) -> TensorRTPlan:
    """Load a plan that was checked; it owns `device` from then on. See `load_plan`."""
    trt = _tensorrt()
    loaded = load_plan(trt, path.read_bytes(), source=str(path), rebuild=rebuild, device=device)
    return TensorRTPlan(trt, loaded, name="tensorrt", device=device)


def _tensorrt() -> Any:
    return require("tensorrt", extra="tensorrt", purpose="The TensorRT backend")
