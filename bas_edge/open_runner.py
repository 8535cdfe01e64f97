"""From an engine to what runs it."""

from __future__ import annotations

import logging

from bas_edge.backends import (
    PLAN_BACKENDS,
    Backend,
    PlanRefusedError,
    check_name,
    library_version,
    open_backend,
    open_plan,
)
from bas_edge.backends._cuda import driver_state, open_device
from bas_edge.backends.base import DevicePlan
from bas_edge.backends.device import Device
from bas_edge.device_runner import DeviceRunner, SharedPlan
from bas_edge.engine.bundle import Engine
from bas_edge.engine.contract import check_graph
from bas_edge.engine.file_check import check_file
from bas_edge.engine.plans import check_plan, find_plan, rebuild_command
from bas_edge.errors import BackendError, EngineError, InputError
from bas_edge.host_runner import HostRunner
from bas_edge.ops.cuda_module import native
from bas_edge.plan_backend import PlanBackend
from bas_edge.runner import Runner, RunOptions

__all__ = ["chosen_backend", "open_network", "open_runner"]

_log = logging.getLogger("bas_edge")


def open_runner(
    engine: Engine,
    options: RunOptions,
    *,
    backend: str = "auto",
    threads: int | None = None,
    spin: bool = True,
    device: int = 0,
    rebuild: bool = False,
) -> Runner:
    """Load an engine for localization with a backend and hold its graph against the manifest.

    Args:
        engine: Its plans need not have been checked: the one that is loaded is checked here.
        options: How maps become answers.
        backend: A name, or "auto": what the engine was built for; without any NVIDIA driver,
            ONNX Runtime, which is logged.
        threads: Of ONNX Runtime.
        spin: Whether these stay awake between frames.
        device: The GPU, as CUDA numbers it.
        rebuild: Build the plan again where it does not fit this machine, or is damaged.

    Raises:
        InputError: Unknown backend, or an option that does not fit it.
        MissingExtraError: Its library is not installed.
        EngineError: The graph breaks the contract, or the engine has no plan that fits.
        BackendError: No driver or device, or the backend refuses the graph or the plan.
        KernelError: A plan is to be run, but this installation has no CUDA kernels.
    """
    name = _checked_name(engine, backend, threads, device, rebuild)
    if name not in PLAN_BACKENDS:
        return HostRunner(_open_graph(engine, name, threads, spin), options)
    plan = _open_plan(engine, name, device, rebuild, kernels=True)
    try:
        return DeviceRunner(SharedPlan(plan), options)
    except BaseException:
        plan.close()
        raise


def open_network(
    engine: Engine,
    *,
    backend: str = "auto",
    threads: int | None = None,
    spin: bool = True,
    device: int = 0,
    rebuild: bool = False,
) -> Backend:
    """Load an engine of any task as what takes frames on the host and gives its outputs there.

    Args:
        engine, backend, threads, spin, device, rebuild: See `open_runner`.

    Raises:
        InputError, MissingExtraError, EngineError, BackendError: See `open_runner`.
    """
    name = _checked_name(engine, backend, threads, device, rebuild)
    if name not in PLAN_BACKENDS:
        return _open_graph(engine, name, threads, spin)
    plan = _open_plan(engine, name, device, rebuild, kernels=False)
    try:
        return PlanBackend(SharedPlan(plan))
    except BaseException:
        plan.close()
        raise


def _checked_name(
    engine: Engine, backend: str, threads: int | None, device: int, rebuild: bool
) -> str:
    """The backend's name, where the options fit it; says where the engine's bound refused it."""
    if not isinstance(device, int) or device < 0:
        raise InputError(f"device is {device!r}, but CUDA counts GPUs from 0.")
    name = chosen_backend(backend, engine)
    verdict = engine.manifest.bound
    if verdict is not None and not verdict.accepted:
        _log.warning(
            f"{engine.path} was refused by its bound and written with --force: "
            f"{verdict.description}."
        )
    if name not in PLAN_BACKENDS and backend != "auto" and (rebuild or device):
        raise InputError(
            f"rebuild and device are about plans, and the backend '{name}' has none.",
            hint="Leave them out, or choose a TensorRT backend.",
        )
    if name in PLAN_BACKENDS and threads is not None:
        raise InputError(
            f"threads is {threads}, but the backend '{name}' computes on the GPU.",
            hint="Leave threads out.",
        )
    return name


def _open_graph(engine: Engine, name: str, threads: int | None, spin: bool) -> Backend:
    quantization = engine.manifest.quantization
    opened = open_backend(
        name,
        engine.model_path,
        threads=threads,
        literal=quantization is not None and quantization.flavour == "tensorrt",
        spin=spin,
    )
    if quantization is not None:
        from bas_edge.quantization.saturation import warn_of_saturation

        warn_of_saturation(engine.path, quantization)
    try:
        check_graph(opened.inputs, opened.outputs, engine.manifest)
    except BaseException:
        opened.close()
        raise
    return opened


def _open_plan(
    engine: Engine, name: str, device: int, rebuild: bool, *, kernels: bool
) -> DevicePlan:
    plan = _plan(engine, name, device, rebuild, kernels=kernels)
    try:
        fewest, _, most = plan.batches
        batch = most if fewest == most else None
        check_graph(plan.inputs, plan.outputs, engine.manifest, batch=batch)
    except BaseException:
        plan.close()
        raise
    return plan


def chosen_backend(backend: str, engine: Engine) -> str:
    """The backend that "auto" stands for here, logged where it is not the engine's own.

    Raises:
        InputError: There is no backend by this name.
    """
    if backend != "auto":
        return check_name(backend)
    built_for = engine.manifest.backend
    if built_for not in PLAN_BACKENDS or not engine.is_bundle:
        return "onnxruntime"
    state = driver_state()
    if not state.available:
        _log.warning(
            f"{engine.path} was built for '{built_for}', but runs with ONNX Runtime on the CPU: "
            f"{state.reason}"
        )
        return "onnxruntime"
    return built_for


def _plan(engine: Engine, name: str, index: int, rebuild: bool, *, kernels: bool) -> DevicePlan:
    if not engine.is_bundle:
        raise EngineError(
            f"{engine.path} is a bare ONNX file, but the backend '{name}' runs plans.",
            hint=f"Build an engine: bas-edge build-engine {engine.path} --backend {name}",
        )
    version = library_version(name)
    device = open_device(index)  # first: without a driver nothing else matters
    try:
        if kernels:
            native()  # no kernels are no reason to load a plan first
        try:
            return _load(engine, name, version, device)
        except (EngineError, PlanRefusedError) as error:
            if not rebuild:
                raise
            if index != 0:
                raise BackendError(
                    f"The plan has to be built again for GPU {index}, but plans are built for GPU "
                    f"0: {error}",
                    hint=f"Start with CUDA_VISIBLE_DEVICES={index}, and device=0.",
                ) from error
            _log.warning(f"Building the plan of {engine.path} again, because: {error}")
        from bas_edge.engine.rebuild import rebuild_plan

        return _load(rebuild_plan(engine.path, backend=name), name, version, device)
    except BaseException:
        device.close()
        raise


def _load(engine: Engine, name: str, version: str, device: Device) -> DevicePlan:
    capability = device.compute_capability
    record = find_plan(engine, name, capability)
    path = check_plan(engine, record, library_version=version, compute_capability=capability)
    rebuild = rebuild_command(engine, name)
    check_file(engine.path, record.file, f"Build it again: {rebuild}")
    return open_plan(name, path, device, rebuild=rebuild)
