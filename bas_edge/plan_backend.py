"""A plan on a GPU that takes frames from the host and gives its outputs there."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends.base import TensorSpec
from bas_edge.device_contexts import BatchContexts
from bas_edge.device_results import HostResults
from bas_edge.device_runner import SharedPlan
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.errors import BackendError, InputError

__all__ = ["PlanBackend"]


class PlanBackend:
    """See `backends.Backend`. One upload, one run and one download a batch; needs no kernels.

    A batch between those of the plan's profile runs as the next of them.
    """

    def __init__(self, shared: SharedPlan) -> None:
        self._shared = shared
        self._plan = plan = shared.join()
        device, most = plan.device, plan.batches[2]
        with ExitStack() as stack:  # a failure gives back what was made before it
            stack.callback(shared.leave)
            self._stream = stream = device.stream()
            stack.callback(stream.free)
            (frames,) = plan.inputs
            self._staging = device.staging(_bytes(frames, most))
            stack.callback(self._staging.free)
            self._uploaded = None
            if self._staging.device_address is None:
                self._uploaded = device.buffer(_bytes(frames, most))
                stack.callback(self._uploaded.free)
            self._outputs = {spec.name: device.buffer(_bytes(spec, most)) for spec in plan.outputs}
            for buffer in self._outputs.values():
                stack.callback(buffer.free)
            self._results = HostResults(
                device, {spec.name: _shape(spec, most) for spec in plan.outputs}
            )
            stack.callback(self._results.free)
            self._contexts = BatchContexts(plan)
            stack.callback(self._contexts.close)
            stack.callback(stream.synchronize)
            # Also when it is dropped, and when Python ends: before the device lets its context go.
            self._close = weakref.finalize(self, _close, os.getpid(), stack.pop_all())

    @property
    def name(self) -> str:
        return self._plan.name

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._plan.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._plan.outputs

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `backends.Backend.run`.

        Raises:
            InputError: More frames than the plan's largest batch.
            BackendError: The GPU or the library failed, or this is closed.
        """
        if not self._close.alive:
            raise BackendError("This plan is closed.", hint="Open the engine again.")
        frames = feeds[INPUT_NAME]
        count, most = len(frames), self._plan.batches[2]
        if count > most:
            raise InputError(
                f"The batch is {count}, but this plan takes at most {most}.",
                hint=f"Build the engine with --max-batch {count}.",
            )
        self._staging.array[: frames.nbytes] = frames.reshape(-1)
        try:
            with self._plan.device.current():
                self._enqueue(count, frames.nbytes)
        finally:
            self._stream.synchronize()
        return {spec.name: self._result(spec, count) for spec in self._plan.outputs}

    def clone(self) -> PlanBackend:
        """See `backends.Backend.clone`; it shares the weights."""
        return PlanBackend(self._shared)

    def close(self) -> None:
        """See `backends.Backend.close`."""
        self._close()

    def _enqueue(self, count: int, size_bytes: int) -> None:
        if self._uploaded is None:
            address = self._staging.device_address
            assert address is not None
        else:
            address = self._uploaded.address
            self._stream.upload(address, self._staging.address, size_bytes)
        outputs = {name: buffer.address for name, buffer in self._outputs.items()}
        context = self._contexts.of(count)
        batch = self._contexts.batch_of(count)
        context.enqueue({INPUT_NAME: address, **outputs}, batch, self._stream)
        for name, source in outputs.items():
            self._results.download(self._stream, name, source, count)

    def _result(self, spec: TensorSpec, count: int) -> NDArray[Any]:
        if spec.dtype == np.int32:
            return self._results.integers(spec.name, count)
        return self._results.floats(spec.name, count)


def _shape(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    """Of a batch; only its size may be dynamic, which `check_graph` saw to for what is read."""
    return (batch, *(side or 1 for side in spec.shape[1:]))


def _bytes(spec: TensorSpec, batch: int) -> int:
    return int(np.prod(_shape(spec, batch))) * spec.dtype.itemsize


def _close(process: int, stack: ExitStack) -> None:
    if os.getpid() == process:  # else a forked child, in which CUDA does not work
        stack.close()
