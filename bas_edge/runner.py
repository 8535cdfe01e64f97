"""What carries frames through a network for a Localizer: on the host, or all of it on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bas_edge.device_frames import GpuFrame
from bas_edge.engine.manifest import Manifest, ThresholdPolicy
from bas_edge.errors import BackendError, InputError
from bas_edge.framing import Placement
from bas_edge.results import Timing

__all__ = [
    "Answer",
    "InputBox",
    "Pending",
    "RunOptions",
    "Runner",
    "Shot",
    "maps_not_finite",
    "not_finite",
    "softmax",
]

InputBox: TypeAlias = tuple[int, int, int, int]


class Shot(NamedTuple):
    """One checked frame on its way.

    Attributes:
        frame: [H, W, 3] uint8 on the host, or a frame on the device.
        swap: Whether red and blue change places.
        placement: Where it lies on the network's input.
    """

    frame: NDArray[np.uint8] | GpuFrame
    swap: bool
    placement: Placement


@dataclass(frozen=True, slots=True)
class Answer:
    """What a network says of one frame.

    Attributes:
        label: The best class, ties to the lower index.
        score: Its softmax probability.
        boxes: In pixels of the network's input, largest object first; empty: none.
        foreground: [h, w] float32; [0, 0] where only boxes were asked for.
        scores: [C] float32; [0] where only boxes were asked for.
    """

    label: int
    score: float
    boxes: tuple[InputBox, ...]
    foreground: NDArray[np.float32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How maps become answers; fixed for the life of a Localizer."""

    manifest: Manifest
    threshold: ThresholdPolicy
    top_k: int
    max_boxes: int
    boxes_only: bool


class Pending(Protocol):
    """Frames that were submitted together."""

    def result(self) -> tuple[list[Answer], Timing]:
        """Wait for them. The timing is for one of them.

        Raises:
            BackendError: The network failed, or gave values that are not finite.
        """
        ...


class Runner(Protocol):
    """One thread at a time; `Localizer` sees to that."""

    @property
    def name(self) -> str:
        """The backend's name."""
        ...

    @property
    def max_batch(self) -> int:
        """Most frames of one submit()."""
        ...

    @property
    def in_flight(self) -> int:
        """How many submits are worked on side by side."""
        ...

    @property
    def device_index(self) -> int | None:
        """The GPU whose frames it takes; None on a host."""
        ...

    def check(self, shots: Sequence[Shot]) -> None:
        """Refuse frames that it cannot take, before any is run.

        Raises:
            InputError: They lie where this runner cannot read them.
        """
        ...

    def submit(self, shots: Sequence[Shot]) -> Pending:
        """Start at most `max_batch` frames. Host frames may be changed once it returns."""
        ...

    def clone(self, options: RunOptions | None = None) -> Runner:
        """A second one for another thread, sharing the weights; with `options` in place of its."""
        ...

    def close(self) -> None:
        """Wait for what is in flight, then free everything. Safe to call twice."""
        ...


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, C] → [N, C] probabilities; summed in float64, so 1000 classes lose nothing.

    Raises:
        BackendError: A logit is NaN or infinite.
    """
    if not np.isfinite(logits).all():
        raise not_finite()
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32)


def maps_not_finite(error: InputError) -> BackendError:
    """The error for a network whose maps hold NaN or Inf; `error` is the op's sentence."""
    return BackendError(
        f"The network gave maps that are not finite: {error}.",
        hint="Check the engine with bas-edge inspect, and build it again; in fp16, try fp32.",
    )


def not_finite() -> BackendError:
    """The error for a network that gives NaN or infinite logits."""
    return BackendError(
        "The network gave NaN or infinite logits.",
        hint="Check the engine with bas-edge inspect, and build it again.",
    )
