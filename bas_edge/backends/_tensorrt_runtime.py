"""Running a loaded plan, for TensorRT and TensorRT for RTX alike, by the named-tensor API."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bas_edge.backends._garbage import no_collection
from bas_edge.backends._tensorrt_common import LoadedPlan
from bas_edge.backends.base import TensorSpec
from bas_edge.backends.device import Device, Stream
from bas_edge.errors import BackendError, InputError

__all__ = ["TensorRTContext", "TensorRTPlan"]

_DTYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}


class TensorRTPlan:
    """See `base.DevicePlan`.

    Args:
        trt: The module `tensorrt` or `tensorrt_rtx`.
        loaded: The engine.
        name: The backend's name.
        device: Where it was loaded; close() closes it.
        runtime_cache: Where TensorRT for RTX keeps what it compiles on first use, so that the
            next start is faster; None, or a library without such a cache, keeps nothing.
    """

    def __init__(
        self,
        trt: Any,
        loaded: LoadedPlan,
        *,
        name: str,
        device: Device,
        runtime_cache: Path | None = None,
    ) -> None:
        self._trt = trt
        self._loaded: LoadedPlan | None = loaded
        self._lines = loaded.lines
        self._name = name
        self._device = device
        engine = loaded.engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        specs = {name: _spec(engine, name) for name in names}
        is_input = {n: engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT for n in names}
        self._inputs = tuple(spec for name, spec in specs.items() if is_input[name])
        self._outputs = tuple(spec for name, spec in specs.items() if not is_input[name])
        self._batches = _batches(engine, self._inputs[0])
        with device.current(), no_collection():
            self._cache = _RuntimeCache(trt, engine, runtime_cache)

    @property
    def name(self) -> str:
        return self._name

    @property
    def device(self) -> Device:
        return self._device

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._outputs

    @property
    def batches(self) -> tuple[int, int, int]:
        return self._batches

    def context(self) -> TensorRTContext:
        if self._loaded is None:
            raise BackendError("This plan is closed.", hint="Open the engine again.")
        with self._device.current(), no_collection():
            context = self._cache.create_context(self._loaded.engine)
        if context is not None and context.active_optimization_profile < 0:
            raise BackendError(
                f"TensorRT {self._trt.__version__} gives this plan one execution context only: its "
                "profile cannot be shared.",
                hint="Use one Localizer of it at a time, or build it again with this version.",
            )
        if context is None:
            raise BackendError(
                f"TensorRT {self._trt.__version__} cannot make an execution context."
                f"{self._lines.attached()}",
                hint="The GPU's memory may be full: close other engines, or lower --max-batch.",
            )
        return TensorRTContext(self, context)

    def refuse(self, what: str) -> BackendError:
        """The error for a call that TensorRT answered with False."""
        return BackendError(
            f"TensorRT {self._trt.__version__} failed while {what}.{self._lines.attached()}"
        )

    def close(self) -> None:
        if self._loaded is not None:
            try:
                with self._device.current():
                    try:
                        self._cache.save()
                    finally:
                        runtime, self._loaded = self._loaded.runtime, None
                        del runtime  # after the engine that it made
            finally:
                self._device.close()


class TensorRTContext:
    """See `base.DeviceContext`."""

    def __init__(self, plan: TensorRTPlan, context: Any) -> None:
        self._plan = plan
        self._context: Any = context
        self._batch = 0

    def enqueue(self, addresses: Mapping[str, int], batch: int, stream: Stream) -> None:
        fewest, best, most = self._plan.batches
        if not fewest <= batch <= most:
            raise InputError(
                f"The batch is {batch}, but the plan's profile is {fewest} to {most} (best at "
                f"{best}).",
                hint=f"Build the engine with --min-batch {min(batch, fewest)} "
                f"--max-batch {max(batch, most)}.",
            )
        if self._context is None:
            raise BackendError("This plan is closed.", hint="Open the engine again.")
        if batch != self._batch:
            for spec in self._plan.inputs:
                if spec.shape[0] is None and not self._context.set_input_shape(
                    spec.name, (batch, *spec.shape[1:])
                ):
                    raise self._plan.refuse(f"setting the batch to {batch}")
            self._batch = batch
        for spec in (*self._plan.inputs, *self._plan.outputs):
            if not self._context.set_tensor_address(spec.name, addresses[spec.name]):
                raise self._plan.refuse(f"binding the tensor '{spec.name}'")
        if not self._context.execute_async_v3(stream.handle):
            raise self._plan.refuse("running the network")

    def refuses_capture(self, stream: Stream) -> str:
        ask = getattr(self._context, "is_stream_capturable", None)  # TensorRT for RTX from 1.2
        if ask is None or ask(stream.handle):
            return ""
        return "this plan allocates memory while it runs, says TensorRT."

    def close(self) -> None:
        if self._context is not None:
            with self._plan.device.current():
                self._context = None


class _RuntimeCache:
    """What TensorRT for RTX compiled for this GPU, kept in a file beside the plan.

    The library itself decides whether a cache fits (GPU, version, CUDA); one that does not is
    replaced. A file that cannot be read or written costs time, nothing else.
    """

    def __init__(self, trt: Any, engine: Any, path: Path | None) -> None:
        self._path = path
        self._config: Any = None
        self._cache: Any = None
        self._loaded = b""
        self._lock = threading.Lock()
        if path is None or not hasattr(engine, "create_runtime_config"):
            return
        config = engine.create_runtime_config()
        if not hasattr(config, "create_runtime_cache"):
            return
        self._config = config
        self._cache = config.create_runtime_cache()
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            if self._cache.deserialize(content):
                self._loaded = content
        config.set_runtime_cache(self._cache)
        strategies = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
        if strategies is not None:
            # By default better kernels come later, from a thread of the library's; a CUDA graph
            # that was captured before would never see them.
            config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER

    def create_context(self, engine: Any) -> Any:
        if self._config is None:
            return engine.create_execution_context()
        with self._lock:
            return engine.create_execution_context(self._config)

    def save(self) -> None:
        """Write the cache where it has grown; whole, or not at all."""
        if self._cache is None or self._path is None:
            return
        content = bytes(self._cache.serialize() or b"")
        if content and content != self._loaded:
            own = f"{os.getpid()}.{threading.get_ident()}"
            temporary = self._path.with_name(f".{self._path.name}.{own}")
            with contextlib.suppress(OSError):
                try:
                    temporary.write_bytes(content)
                    temporary.replace(self._path)
                finally:
                    temporary.unlink(missing_ok=True)
        self._cache = self._config = None


def _spec(engine: Any, name: str) -> TensorSpec:
    kind = str(engine.get_tensor_dtype(name).name)
    if kind not in _DTYPES:
        raise BackendError(f"The plan's tensor '{name}' has the type {kind}.")
    shape = tuple(int(side) for side in engine.get_tensor_shape(name))
    return TensorSpec(
        name, tuple(None if side < 0 else side for side in shape), np.dtype(_DTYPES[kind])
    )


def _batches(engine: Any, frames: TensorSpec) -> tuple[int, int, int]:
    if frames.shape and frames.shape[0] is not None:
        return (frames.shape[0],) * 3
    fewest, best, most = (int(s[0]) for s in engine.get_tensor_profile_shape(frames.name, 0))
    return fewest, best, most
