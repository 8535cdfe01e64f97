"""What every inference backend offers, and nothing that only one of them has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends.device import Device, Stream
from bas_edge.errors import BackendError

__all__ = ["Backend", "DeviceContext", "DevicePlan", "PlanRefusedError", "TensorSpec"]


class PlanRefusedError(BackendError):
    """A library does not take a plan; built again, it may."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One engine input or output. A None in `shape` is a dynamic axis."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Backend(Protocol):
    """One loaded engine. Holds its memory until close(). One thread at a time."""

    @property
    def name(self) -> str:
        """The name a user selects it by, such as "onnxruntime"."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch and wait for it.

        The caller owns the returned arrays: no later run() writes into them. Feeds were
        already checked against `inputs`, so an implementation checks nothing twice.

        Raises:
            BackendError: The library failed; its own last words are in the message.
        """
        ...

    def clone(self) -> Backend:
        """A second engine for another thread, sharing weights where the library can."""
        ...

    def close(self) -> None:
        """Free its memory. Safe to call twice."""
        ...


class DevicePlan(Protocol):
    """A loaded plan on a GPU, whose inputs and outputs never leave it. Any thread."""

    @property
    def name(self) -> str:
        """The backend's name."""
        ...

    @property
    def device(self) -> Device: ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def batches(self) -> tuple[int, int, int]:
        """Fewest, best and most frames of one run: the plan's profile."""
        ...

    def context(self) -> DeviceContext:
        """Scratch memory for one run at a time; several contexts share the weights.

        Raises:
            BackendError: The library refuses, or the GPU's memory is full.
        """
        ...

    def close(self) -> None:
        """Free it and its device, once every context is closed. Safe to call twice."""
        ...


class DeviceContext(Protocol):
    """One run at a time of a DevicePlan. One thread at a time."""

    def enqueue(self, addresses: Mapping[str, int], batch: int, stream: Stream) -> None:
        """Put one run of the first `batch` frames on a stream; may be captured.

        Args:
            addresses: Of every input and output, by name.
            batch: Within the plan's profile.
            stream: Where; nothing waits.

        Raises:
            InputError: The batch is outside the profile.
            BackendError: The library failed; its own last words are in the message.
        """
        ...

    def refuses_capture(self, stream: Stream) -> str:
        """Why a run cannot be captured into a CUDA graph, as far as it is known before; or ""."""
        ...

    def close(self) -> None:
        """Free its memory. Safe to call twice."""
        ...
