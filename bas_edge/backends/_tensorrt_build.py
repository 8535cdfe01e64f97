"""Building a plan: one path over TensorRT 8.6, 10, 11 and TensorRT for RTX.

The module is handed in, so nothing here imports either. What differs between versions is asked
of the module with hasattr, never of its version number. Precision is in the graph; only
TensorRT 8.6, which has no strongly typed networks, also needs builder flags for it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bas_edge.backends._driver import Gpu
from bas_edge.backends._tensorrt_log import LogLines, library, make_logger
from bas_edge.backends._tensorrt_parse import make_network, parse_graph
from bas_edge.backends._tensorrt_progress import (
    BuildProgress,
    ProgressCallback,
    make_monitor,
    peak_bytes,
    run_interruptible,
)
from bas_edge.backends._timing_cache import attach_timing_cache, save_timing_cache
from bas_edge.errors import BackendError, InputError

__all__ = ["BuildRequest", "BuiltPlan", "PlanBuilder", "build_plan", "hardware_level"]

_RETRIES = 3
_LEAST_WORKSPACE = 16 << 20
_WORKSPACE_TOO_SMALL = re.compile(r"workspace limit|Requested size was", re.IGNORECASE)
_OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemory|insufficient (memory|workspace)|memory is insufficient|"
    r"requested .* exceeds|cudaErrorMemoryAllocation",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build.

    Attributes:
        model_path: The ONNX graph; its input has a dynamic first axis.
        input_name: Its one input.
        frame_shape: The input without the batch: (H, W, 3).
        precision: Of the graph (TensorRT 8.6 must be told; hints speak of it).
        min_batch, opt_batch, max_batch: All equal makes a static batch.
        workspace_bytes: Limit of TensorRT's scratch memory; None leaves it to the library.
        capabilities: Members of `ComputeCapability` to build for; RTX only, empty elsewhere.
        hardware_compat: "none", "ampere_plus" or "same_compute_capability".
        timing_cache: A file to read measured kernel times from, and to write them back to.
    """

    model_path: str | os.PathLike[str]
    input_name: str
    frame_shape: tuple[int, ...]
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    min_batch: int = 1
    opt_batch: int = 1
    max_batch: int = 8
    workspace_bytes: int | None = None
    capabilities: tuple[Any, ...] = ()
    hardware_compat: str = "none"
    timing_cache: Path | None = None


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A plan and the facts of its build.

    Attributes:
        plan: The serialized engine, exactly as TensorRT gave it.
        library_version: Of the TensorRT that built it.
        layers: Of the network as parsed; TensorRT fuses them.
        seconds: Wall clock, from parsing to the plan.
        peak_bytes: Peak resident memory of this process meanwhile; 0 where unknown. What the driver
            holds for the GPU is not part of it.
        workspace_bytes: The limit that it was built with; None is the library's own.
    """

    plan: bytes
    library_version: str
    layers: int
    seconds: float
    peak_bytes: int
    workspace_bytes: int | None


@dataclass(frozen=True, slots=True)
class PlanBuilder:
    """A library that is ready to build, with everything about the build that was checked first.

    Attributes:
        backend: "tensorrt" or "tensorrt_rtx".
        trt: Its module.
        targets: What plans will run on, such as ("sm_86", "sm_120+"): "+" is "and later".
        gpu: The GPU of this machine; None where there is none, which only RTX allows.
        capabilities, hardware_compat, timing_cache: See `BuildRequest`.
    """

    backend: str
    trt: Any
    targets: tuple[str, ...]
    gpu: Gpu | None
    capabilities: tuple[Any, ...] = ()
    hardware_compat: str = "none"
    timing_cache: Path | None = None

    @property
    def library_version(self) -> str:
        return str(self.trt.__version__)

    def build(
        self,
        request: BuildRequest,
        *,
        on_progress: ProgressCallback | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> BuiltPlan:
        """Build `request` for what was checked; see `build_plan`."""
        request = replace(
            request,
            capabilities=self.capabilities,
            hardware_compat=self.hardware_compat,
            timing_cache=self.timing_cache,
        )
        return build_plan(self.trt, request, on_progress=on_progress, note=note)


def build_plan(
    trt: Any,
    request: BuildRequest,
    *,
    on_progress: ProgressCallback | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> BuiltPlan:
    """Build in a worker thread; Ctrl-C cancels at TensorRT's next step.

    Args:
        trt: The module `tensorrt` or `tensorrt_rtx`. For `tensorrt` a driver must be present.
        request: What to build.
        on_progress: Called with the phase and the share done, from the worker thread.
        note: Called with one sentence about anything that went another way than asked.

    Raises:
        BackendError: TensorRT refuses the graph or fails; its last words are in the message.
        InputError: This TensorRT lacks what was asked for.
        KeyboardInterrupt: Ctrl-C.
    """
    progress = BuildProgress(on_progress)
    if not hasattr(trt, "IProgressMonitor"):
        note(f"{library(trt)} shows no progress, and Ctrl-C waits for it to finish.")
    peak_bytes(reset=True)
    return run_interruptible(lambda: _build(trt, request, progress, note), progress)


def hardware_level(trt: Any, name: str) -> Any:
    """The member of `HardwareCompatibilityLevel` for "ampere_plus" and so on.

    Raises:
        InputError: No such level, in general or in this TensorRT.
    """
    levels = getattr(trt, "HardwareCompatibilityLevel", None)  # absent before 8.6
    known = [level for level in _LEVELS if hasattr(levels, level.upper())]
    if name not in known:
        raise InputError(
            f"Hardware compatibility '{name}' is not known to {library(trt)}; "
            f"it knows {', '.join(known) or 'none'}.",
            hint=f"--hardware-compat {known[-1]}" if known else "Leave --hardware-compat out.",
        )
    return getattr(levels, name.upper())


_LEVELS = ("none", "ampere_plus", "same_compute_capability")


def _build(
    trt: Any, request: BuildRequest, progress: BuildProgress, note: Callable[[str], None]
) -> BuiltPlan:
    began = time.monotonic()
    lines = LogLines()
    logger = make_logger(trt, lines)
    try:
        builder = trt.Builder(logger)
        network = make_network(trt, builder)
        # The parser owns the weights that the network points to: it must outlive the build.
        parser = parse_graph(
            trt,
            network,
            logger,
            request.model_path,
            input_name=request.input_name,
            is_quantized=request.precision == "int8",
            lines=lines,
        )
        config = _config(trt, builder, network, request)
        monitor = make_monitor(trt, progress)
        if monitor is not None:
            config.progress_monitor = monitor
        cache = attach_timing_cache(config, request.timing_cache, note)
        plan, workspace = _serialize(trt, builder, network, config, request, progress, lines, note)
    except (RuntimeError, TypeError) as error:  # what pybind11 raises for a refused call
        raise BackendError(
            f"{library(trt)} failed: {error}.{lines.attached()}", hint=_HINT
        ) from error
    if cache is not None and request.timing_cache is not None:
        save_timing_cache(config, request.timing_cache, note)
    built = BuiltPlan(
        plan=plan,
        library_version=str(trt.__version__),
        layers=int(network.num_layers),
        seconds=time.monotonic() - began,
        peak_bytes=peak_bytes(),
        workspace_bytes=workspace,
    )
    del parser
    return built


_HINT = "Run bas-edge doctor; if the driver and TensorRT are in order, report the message."


def _config(trt: Any, builder: Any, network: Any, request: BuildRequest) -> Any:
    config = builder.create_builder_config()
    if request.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    frames = network.get_input(0)
    if request.min_batch == request.max_batch:
        frames.shape = (request.max_batch, *request.frame_shape)
    else:
        batches = (request.min_batch, request.opt_batch, request.max_batch)
        profile = builder.create_optimization_profile()
        profile.set_shape(request.input_name, *((n, *request.frame_shape) for n in batches))
        if config.add_optimization_profile(profile) < 0:
            raise BackendError(f"TensorRT refuses the batches {batches}.", hint=_HINT)
    sharing = getattr(getattr(trt, "PreviewFeature", None), "PROFILE_SHARING_0806", None)
    if sharing is not None:  # before 10, contexts share a profile only where they were told to
        config.set_preview_feature(sharing, True)
    if request.hardware_compat != "none":
        config.hardware_compatibility_level = hardware_level(trt, request.hardware_compat)
    if request.capabilities:
        config.num_compute_capabilities = len(request.capabilities)
        for at, capability in enumerate(request.capabilities):
            if not config.set_compute_capability(capability, at):
                raise BackendError(f"TensorRT refuses the target {capability.name}.", hint=_HINT)
    if _is_weakly_typed(trt):
        if request.precision == "fp16":
            _allow_half(trt, config, network)
        elif request.precision == "int8":  # no FP16: what has no pair is float32 in the graph
            config.set_flag(trt.BuilderFlag.INT8)
    return config


def _is_weakly_typed(trt: Any) -> bool:
    return not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def _allow_half(trt: Any, config: Any, network: Any) -> None:
    """TensorRT 8.6: allow float16, and hold the layers that the graph keeps in float32 there."""
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    for at in range(network.num_layers):
        layer = network.get_layer(at)
        outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
        if layer.type != trt.LayerType.CONSTANT and any(
            output is not None and output.dtype == trt.float32 for output in outputs
        ):
            layer.precision = trt.float32


def _serialize(
    trt: Any,
    builder: Any,
    network: Any,
    config: Any,
    request: BuildRequest,
    progress: BuildProgress,
    lines: LogLines,
    note: Callable[[str], None],
) -> tuple[bytes, int | None]:
    """The plan, and the workspace it took; with half of it again where memory ran out."""
    pool = trt.MemoryPoolType.WORKSPACE
    for retry in range(_RETRIES + 1):
        memory = builder.build_serialized_network(network, config)
        if memory is not None:
            return bytes(memory), request.workspace_bytes
        if progress.cancelled:
            raise BackendError("The build was cancelled.")  # replaced by what cancelled it
        workspace = int(config.get_memory_pool_limit(pool)) // 2
        if request.workspace_bytes is not None and lines.says(_WORKSPACE_TOO_SMALL):
            raise BackendError(
                f"{library(trt)} built no engine with a workspace of "
                f"{request.workspace_bytes >> 20} MiB.{lines.attached()}",
                hint="Give a larger --workspace, or leave it out.",
            )
        if not lines.says(_OUT_OF_MEMORY) or retry == _RETRIES or workspace < _LEAST_WORKSPACE:
            break
        note(
            f"TensorRT ran out of memory with a workspace of {workspace * 2 >> 20} MiB; "
            f"trying again with {workspace >> 20} MiB."
        )
        lines.clear()
        request = replace(request, workspace_bytes=workspace)
        config.set_memory_pool_limit(pool, workspace)
    if lines.says(_OUT_OF_MEMORY):
        raise BackendError(
            f"{library(trt)} ran out of memory, also with a workspace of "
            f"{int(config.get_memory_pool_limit(pool)) >> 20} MiB.{lines.attached()}",
            hint="Close other programs, or build with a smaller --max-batch.",
        )
    raise BackendError(f"{library(trt)} built no engine.{lines.attached()}", hint=_HINT)
