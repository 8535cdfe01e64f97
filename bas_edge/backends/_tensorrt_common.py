"""Loading a plan, for TensorRT and TensorRT for RTX alike: the module is handed in."""

from __future__ import annotations

from typing import Any, NamedTuple

from bas_edge.backends._garbage import no_collection
from bas_edge.backends._tensorrt_log import LogLines, library, make_logger
from bas_edge.backends.base import PlanRefusedError
from bas_edge.backends.device import Device

__all__ = ["LoadedPlan", "load_plan"]


class LoadedPlan(NamedTuple):
    """An engine with what it needs to stay alive: keep all three as long as `engine` is used."""

    engine: Any
    runtime: Any
    lines: LogLines


def load_plan(trt: Any, plan: bytes, *, source: str, rebuild: str, device: Device) -> LoadedPlan:
    """Deserialize a plan; never an empty engine.

    Code inside a plan (version-compatible ones carry some) is not allowed to run.

    Args:
        trt: The module `tensorrt` or `tensorrt_rtx`.
        plan: The serialized engine.
        source: Its name in messages.
        rebuild: The command that builds it again, for the hint.
        device: Where it is to run, and proof of a driver: creating a Runtime without one can
            end the process.

    Raises:
        PlanRefusedError: TensorRT refuses the plan; its last words are in the message.
    """
    lines = LogLines()
    runtime, engine, diagnosis = None, None, ""
    try:
        with device.current(), no_collection():
            runtime = trt.Runtime(make_logger(trt, lines))
            runtime.engine_host_code_allowed = False
            engine = runtime.deserialize_cuda_engine(plan)
            if engine is None:
                diagnosis = _diagnosis(trt, runtime, plan)
    except (RuntimeError, TypeError) as error:  # what pybind11 raises for a refused call
        lines.add("ERROR", str(error))
    if engine is None:
        del runtime  # before the error can keep it
        target = "sm_{}{}".format(*device.compute_capability)
        raise PlanRefusedError(
            f"{library(trt)} refuses the plan {source} on this {device.name} "
            f"({target}).{diagnosis}{lines.attached(whole=True)}",
            hint=f"Build it again here: {rebuild}",
        )
    return LoadedPlan(engine, runtime, lines)


def _diagnosis(trt: Any, runtime: Any, plan: bytes) -> str:
    """What TensorRT for RTX finds wrong with a plan's header; "" where it finds nothing."""
    if not hasattr(runtime, "get_engine_validity"):
        return ""
    _, found = runtime.get_engine_validity(plan[: runtime.engine_header_size])
    causes = trt.EngineInvalidityDiagnostics.__members__.items()
    names = [name.lower().replace("_", " ") for name, flag in causes if int(found) & int(flag)]
    return f" It finds: {', '.join(names)}." if names else ""
