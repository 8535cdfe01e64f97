"""TensorRT for RTX: plans for a list of GPUs.

The only file that imports tensorrt_rtx.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bas_edge._require import require
from bas_edge.backends._driver import find_gpu
from bas_edge.backends._tensorrt_build import PlanBuilder
from bas_edge.backends._tensorrt_common import load_plan
from bas_edge.backends._tensorrt_runtime import TensorRTPlan
from bas_edge.backends.device import Device
from bas_edge.errors import InputError

__all__ = ["DEFAULT_TARGETS", "library_version", "open_plan", "plan_builder", "supported_targets"]

# What TensorRT-RTX builds for when it is told nothing, by its documentation.
DEFAULT_TARGETS = ("sm_80", "sm_86", "sm_89", "sm_120+")


def library_version() -> str:
    """The installed version of TensorRT for RTX."""
    return str(_tensorrt_rtx().__version__)


def plan_builder(
    *,
    targets: tuple[str, ...] = (),
    hardware_compat: str = "none",
    timing_cache: Path | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> PlanBuilder:
    """Check what is asked for, before any work is done for it. Needs no GPU.

    Args:
        targets: Such as ("sm_86", "sm_89"); empty for DEFAULT_TARGETS.
        hardware_compat: "none", the only level: a plan fits all its targets as it is.
        timing_cache: Has no effect here, and `note` says so.
        note: Called with one sentence.

    Raises:
        MissingExtraError: TensorRT for RTX is not installed.
        InputError: It does not know a target, or a compatibility level is asked for.
    """
    trt = _tensorrt_rtx()
    if hardware_compat != "none":
        raise InputError(
            f"--hardware-compat {hardware_compat} is for TensorRT; a TensorRT-RTX plan fits every "
            "GPU of its targets already.",
            hint="Name the GPUs instead, for example: --target sm_86,sm_89",
        )
    known = supported_targets(trt)
    unknown = [target for target in targets if target not in known]
    if unknown:
        raise InputError(
            f"TensorRT-RTX {trt.__version__} cannot build for {', '.join(unknown)}; "
            f"it can for {', '.join(known)}.",
            hint="Leave --target out for the usual GPUs, or build with --backend tensorrt there.",
        )
    if timing_cache is not None:
        note("A timing cache has no effect on TensorRT-RTX, so --timing-cache is left alone.")
    wanted = tuple(sorted(set(targets), key=list(known).index))
    found = find_gpu()
    return PlanBuilder(
        backend="tensorrt_rtx",
        trt=trt,
        targets=wanted or DEFAULT_TARGETS,
        capabilities=tuple(known[target] for target in wanted),
        gpu=None if isinstance(found, str) else found,
    )


def open_plan(path: Path, device: Device, *, rebuild: str) -> TensorRTPlan:
    """Load a plan that was checked; it owns `device` from then on. See `load_plan`.

    What the library compiles for this GPU is kept beside the plan, so the next start is faster.
    """
    trt = _tensorrt_rtx()
    loaded = load_plan(trt, path.read_bytes(), source=str(path), rebuild=rebuild, device=device)
    cache = path.with_suffix(".runtimecache")
    return TensorRTPlan(trt, loaded, name="tensorrt_rtx", device=device, runtime_cache=cache)


def supported_targets(trt: Any) -> dict[str, Any]:
    """Target, such as "sm_86" → member of this library's `ComputeCapability`, ascending."""
    members = trt.ComputeCapability.__members__
    numbers = sorted(int(name[2:]) for name in members if name[:2] == "SM" and name[2:].isdigit())
    return {f"sm_{number}": members[f"SM{number}"] for number in numbers}


def _tensorrt_rtx() -> Any:
    return require("tensorrt_rtx", extra="tensorrt-rtx", purpose="The TensorRT-RTX backend")
