"""Loading a plan, for TensorRT and TensorRT for RTX alike: the module is handed in."""

from __future__ import annotations

from typing import Any, NamedTuple

from bas_edge.backends._tensorrt_log import LogLines, make_logger
from bas_edge.backends.device import Device
from bas_edge.errors import BackendError

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
        BackendError: TensorRT refuses the plan; its last words are in the message.
    """
    lines = LogLines()
    engine = None
    try:
        with device.current():
            runtime = trt.Runtime(make_logger(trt, lines))
            runtime.engine_host_code_allowed = False
            engine = runtime.deserialize_cuda_engine(plan)
    except (RuntimeError, TypeError) as error:  # what pybind11 raises for a refused call
        lines.add("ERROR", str(error))
    if engine is None:
        major, minor = device.compute_capability
        raise BackendError(
            f"TensorRT {trt.__version__} refuses the plan {source} on this {device.name} "
            f"(sm_{major}{minor}).{lines.attached()}",
            hint=f"Build it again here: {rebuild}",
        )
    return LoadedPlan(engine, runtime, lines)
