"""A plan that torch computes, so that a GPU without TensorRT still runs the rest of the runtime.

It satisfies `bas_edge.backends.base.DevicePlan`: the network reads the runtime's own input buffer
and writes into the buffers that our kernels read, on the runtime's own stream, so a capture of
that stream records torch's kernels between ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import numpy as np
import torch

from bas_edge import Localizer, localizer
from bas_edge.backends.base import DevicePlan, TensorSpec
from bas_edge.backends.device import Device, Stream
from bas_edge.device_runner import DeviceRunner, SharedPlan
from bas_edge.engine.bundle import Engine
from bas_edge.engine.manifest import Manifest
from bas_edge.errors import BackendError, InputError
from bas_edge.runner import Runner, RunOptions

__all__ = ["CudaTorch", "Network", "TorchContext", "TorchPlan", "TorchRunner", "localizer_over"]

Network = Callable[[torch.Tensor], Mapping[str, torch.Tensor]]  # frames → outputs, by name


class TorchRunner(Protocol):
    """How torch gets at a GPU's streams and memory."""

    def tensor(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> torch.Tensor:
        """The memory there, not a copy of it."""
        ...

    def run(self, stream: int, work: Callable[[], None]) -> None:
        """Let what `work` does happen on the stream with this handle."""
        ...


class CudaTorch:
    """Torch's own CUDA. What it allocates stays in a pool of its own, as long as this lives.

    So a captured graph never shares scratch memory with anything else. Before torch 2.5 there are
    no such pools; freed memory is then kept for its stream alone, which serves as long as the GPU's
    memory is not full.
    """

    def __init__(self, index: int) -> None:
        self._device = torch.device("cuda", index)
        with torch.cuda.device(self._device):
            self._pool = torch.cuda.MemPool() if hasattr(torch.cuda, "MemPool") else None

    def tensor(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> torch.Tensor:
        return torch.as_tensor(_Memory(address, shape, dtype), device=self._device)

    def run(self, stream: int, work: Callable[[], None]) -> None:
        outer = torch.cuda.ExternalStream(stream, device=self._device)
        pool = nullcontext() if self._pool is None else torch.cuda.use_mem_pool(self._pool)
        with torch.cuda.device(self._device), torch.cuda.stream(outer), pool:
            work()


class _Memory:
    """Device memory as other libraries take it."""

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.__cuda_array_interface__ = {
            "data": (address, False),
            "shape": shape,
            "typestr": dtype.str,
            "strides": None,
            "version": 3,
        }


class TorchPlan:
    """See `DevicePlan`.

    Args:
        network: uint8 frames [N, H, W, 3] → every output; allocates nothing on first use that a
            capture forbids, once it has run.
        device: Where; close() closes it.
        specs: The one input, then the outputs.
        batches: Fewest, best and most frames.
        new_runner: Makes what each context runs torch with.
    """

    def __init__(
        self,
        network: Network,
        device: Device,
        specs: tuple[TensorSpec, ...],
        *,
        batches: tuple[int, int, int],
        new_runner: Callable[[], TorchRunner] | None = None,
    ) -> None:
        self.network = network
        self._device = device
        self._specs = specs
        self._batches = batches
        self._new_runner = new_runner or (lambda: CudaTorch(device.index))

    @property
    def name(self) -> str:
        return "torch"

    @property
    def device(self) -> Device:
        return self._device

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._specs[:1]

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._specs[1:]

    @property
    def batches(self) -> tuple[int, int, int]:
        return self._batches

    def context(self) -> TorchContext:
        return TorchContext(self, self._new_runner())

    def close(self) -> None:
        self._device.close()


class TorchContext:
    """See `DeviceContext`."""

    def __init__(self, plan: TorchPlan, runner: TorchRunner) -> None:
        self._plan = plan
        self._runner: TorchRunner | None = runner
        self._tensors: dict[tuple[str, int, int], torch.Tensor] = {}

    def enqueue(self, addresses: Mapping[str, int], batch: int, stream: Stream) -> None:
        fewest, _, most = self._plan.batches
        if not fewest <= batch <= most:
            raise InputError(f"The batch is {batch}, but this plan takes {fewest} to {most}.")
        if self._runner is None:
            raise BackendError("This context is closed.")
        (frames,) = self._plan.inputs
        given = self._tensor(self._runner, frames, addresses, batch)
        kept = {
            spec.name: self._tensor(self._runner, spec, addresses, batch)
            for spec in self._plan.outputs
        }

        @torch.inference_mode()
        def work() -> None:
            results = self._plan.network(given)
            for name, tensor in kept.items():
                tensor.copy_(results[name])

        try:
            self._runner.run(stream.handle, work)
        except RuntimeError as error:  # which torch's errors of CUDA derive from
            raise BackendError(f"torch {torch.__version__} failed: {error}") from error

    def refuses_capture(self, stream: Stream) -> str:  # noqa: ARG002  (nothing to ask)
        return ""  # not known before it is tried

    def close(self) -> None:
        self._tensors.clear()
        self._runner = None

    def _tensor(
        self, runner: TorchRunner, spec: TensorSpec, addresses: Mapping[str, int], batch: int
    ) -> torch.Tensor:
        """Kept, since a capture is no time to ask CUDA about an address."""
        key = (spec.name, addresses[spec.name], batch)
        if key not in self._tensors:
            sides = tuple(side or 0 for side in spec.shape[1:])
            self._tensors[key] = runner.tensor(key[1], (batch, *sides), spec.dtype)
        return self._tensors[key]


def localizer_over(
    engine: Path, open_plan: Callable[[Manifest], DevicePlan], **options: Any
) -> Localizer:
    """A Localizer whose network is the plan that `open_plan` gives for the engine's manifest."""

    def open_runner(opened: Engine, run_options: RunOptions, **_: object) -> Runner:
        return DeviceRunner(SharedPlan(open_plan(opened.manifest)), run_options)

    with mock.patch.object(localizer, "open_runner", open_runner):
        return Localizer(engine, **options)
