"""Inference backends by name. Each library is imported in one file, when it is asked for."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bas_edge.backends.base import Backend, DevicePlan, PlanRefusedError, TensorSpec
from bas_edge.errors import BackendError, InputError, MissingExtraError

if TYPE_CHECKING:
    from bas_edge.backends._tensorrt_build import PlanBuilder
    from bas_edge.backends.device import Device

__all__ = [
    "PLAN_BACKENDS",
    "Backend",
    "PlanRefusedError",
    "Probe",
    "TensorSpec",
    "backend_names",
    "check_name",
    "library_version",
    "open_backend",
    "open_plan",
    "plan_builder",
    "probe",
]

PLAN_BACKENDS = ("tensorrt", "tensorrt_rtx")  # they build a plan first, and run that
_NAMES = ("onnxruntime", *PLAN_BACKENDS)


class Probe(NamedTuple):
    """Whether a backend can run here.

    Attributes:
        available: It can.
        version: The library's version; empty when it is not installed or does not load.
        reason: Why not, in a sentence; empty when available.
    """

    available: bool
    version: str
    reason: str


def backend_names() -> list[str]:
    """Every backend name this version knows, usable here or not: `probe` tells which."""
    return list(_NAMES)


def check_name(name: str) -> str:
    """The backend that `name` stands for, whether or not it can run here.

    Raises:
        InputError: No backend has this name.
    """
    if name == "auto":
        return "onnxruntime"
    if name not in _NAMES:
        close = difflib.get_close_matches(name, ("auto", *_NAMES), n=1, cutoff=0.5)
        raise InputError(
            f"Unknown backend '{name}'.",
            hint=f"Did you mean '{close[0]}'?"
            if close
            else f"Known: {', '.join(('auto', *_NAMES))}",
        )
    return name


def open_backend(
    name: str,
    model_path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    literal: bool = False,
    spin: bool = True,
) -> Backend:
    """Load an ONNX graph.

    Args:
        name: One of `backend_names()`, or "auto".
        model_path: The graph.
        threads: CPU threads for one run; None lets the library choose (physical cores).
        literal: Compute a quantized graph with the rounding of TensorRT.
        spin: Whether its idle threads stay awake; see `Localizer`.

    Raises:
        InputError: Unknown backend, or `threads` is not positive.
        MissingExtraError: Its library is not installed.
        BackendError: The library refuses the graph.
    """
    if check_name(name) in PLAN_BACKENDS:
        raise BackendError(
            f"The backend '{name}' runs plans, not ONNX graphs.",
            hint=f"Build one: bas-edge build-engine {os.fspath(model_path)} --backend {name}",
        )
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}, but must be at least 1.")
    from bas_edge.backends.onnxruntime_backend import OnnxRuntimeBackend

    return OnnxRuntimeBackend.open(model_path, threads=threads, literal=literal, spin=spin)


def plan_builder(
    name: str,
    *,
    targets: tuple[str, ...] = (),
    hardware_compat: str = "none",
    timing_cache: Path | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> PlanBuilder:
    """A library that builds plans, ready to build; `name` is one of PLAN_BACKENDS.

    Raises:
        MissingExtraError: The library is not installed.
        InputError: It lacks what is asked for.
        BackendError: It needs a GPU, and there is none.
    """
    if name == "tensorrt":
        from bas_edge.backends import tensorrt_backend

        return tensorrt_backend.plan_builder(
            targets=targets, hardware_compat=hardware_compat, timing_cache=timing_cache
        )
    from bas_edge.backends import tensorrt_rtx_backend

    return tensorrt_rtx_backend.plan_builder(
        targets=targets, hardware_compat=hardware_compat, timing_cache=timing_cache, note=note
    )


def open_plan(name: str, path: Path, device: Device, *, rebuild: str) -> DevicePlan:
    """Load a plan on a GPU; `name` is one of PLAN_BACKENDS. The plan closes `device`.

    Args:
        name: Whose plan it is.
        path: The plan, already checked (`engine.plans.check_plan`).
        device: Where it is to run.
        rebuild: The command that builds it again, for the hint.

    Raises:
        MissingExtraError: The library is not installed.
        PlanRefusedError: It refuses the plan.
    """
    plan: DevicePlan = _plan_module(name).open_plan(path, device, rebuild=rebuild)
    return plan


def library_version(name: str) -> str:
    """The installed version of a backend's library.

    Raises:
        MissingExtraError: It is not installed.
    """
    if name == "onnxruntime":
        from bas_edge.backends import onnxruntime_backend

        return onnxruntime_backend.library_version()
    return str(_plan_module(name).library_version())


def _plan_module(name: str) -> Any:
    if name == "tensorrt":
        from bas_edge.backends import tensorrt_backend

        return tensorrt_backend
    from bas_edge.backends import tensorrt_rtx_backend

    return tensorrt_rtx_backend


def probe(name: str) -> Probe:
    """Whether the backend can run here, without loading a graph.

    Raises:
        InputError: No backend has this name.
    """
    name = check_name(name)
    try:
        version = library_version(name)
    except MissingExtraError as error:
        return Probe(False, "", f"{error} {error.hint}")
    except ImportError as error:
        return Probe(False, "", f"{name} is installed but does not load: {error}")
    if name == "onnxruntime":
        return Probe(True, version, "")
    from bas_edge.backends._driver import find_gpu

    found = find_gpu()
    if not isinstance(found, str):
        return Probe(True, version, "")
    builds = "It builds engines here all the same" if name == "tensorrt_rtx" else "It builds none"
    return Probe(False, version, f"{found} {builds}.")
