"""The bound of reduced precision, and what it is measured with: images and the figures on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.manifest import Task
from bas_edge.engine.stages import Stage
from bas_edge.errors import InputError
from bas_edge.quantization.report import BoundCheck, ImageComparison, MaskComparison
from bas_edge.quantization.statistics import Frames

__all__ = ["AnyYardstick", "Bound", "OutputErrors", "WorstImages", "Yardstick", "standard_error"]

# Rounding moves the edges of all masks a little, and mIoU counts a class of few pixels like any.
_AGREEMENT: dict[Task, float] = {"localization": 0.97, "segmentation": 0.85}


@dataclass(frozen=True, slots=True)
class Bound:
    """How much worse than float32 an engine may be.

    Attributes:
        max_drop: In points of MaxBoxAccV2, of Top-1 Loc at the shipped threshold, and of the
            false-positive rate on background images; four times as much of the objects that pass
            `min_score`. For images with boxes. Of a segmenter in points of mIoU, for images with
            masks.
        min_agreement: Mean IoU of the boxes with those of float32, and share of images with the
            same best class, 0 to 1. For images without boxes. Of a segmenter the mIoU of its masks
            with those of float32, for images without masks. None is what suits the task.
    """

    max_drop: float = 0.5
    min_agreement: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_drop) and self.max_drop >= 0):
            raise InputError(f"max_drop is {self.max_drop}, but must be at least 0 (points).")
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise InputError(f"min_agreement is {self.min_agreement}, but must be 0 to 1.")

    def agreement(self, task: Task) -> float:
        """`min_agreement`, or what it is by default for this task."""
        return _AGREEMENT[task] if self.min_agreement is None else self.min_agreement


class OutputErrors(NamedTuple):
    """How far the outputs of a graph are from those of float32.

    Attributes:
        maps: Mean absolute error of the foreground maps, or of a segmenter's class probabilities.
        logits: Root mean square error of the logits, or of a segmenter's scores, over their
            standard deviation.
    """

    maps: float
    logits: float


class WorstImages(NamedTuple):
    """The images that changed most, the worst first: one of the two is empty."""

    boxes: tuple[ImageComparison, ...] = ()
    masks: tuple[MaskComparison, ...] = ()


_Measured = TypeVar("_Measured")


class Yardstick(Protocol[_Measured]):
    """Images at hand, and what is true of them; `_Measured` is what one graph said about them."""

    @property
    def frames(self) -> Frames:
        """The images that figures are of, at network size."""
        ...

    @property
    def has_truth(self) -> bool:
        """Whether boxes, or a segmenter's masks, are known: then `Bound.max_drop` counts."""
        ...

    @property
    def accuracies(self) -> tuple[str, ...]:
        """The checks that are accuracies by `protocol`, not agreements."""
        ...

    @property
    def protocol(self) -> str:
        """Whose rules the accuracies follow."""
        ...

    @property
    def description(self) -> str:
        """The bound in words."""
        ...

    def measure(self, model: bytes, *, literal: bool) -> _Measured:
        """Run a graph on all images; `literal` is for TensorRT's rounding.

        Raises:
            BackendError: ONNX Runtime refuses the graph, or a segmenter's score is not finite.
            InputError: A map or a score is not finite.
        """
        ...

    def checks(self, reference: _Measured, candidate: _Measured) -> tuple[BoundCheck, ...]:
        """The bound's figures of a candidate beside float32."""
        ...

    def errors(self, reference: _Measured, candidate: _Measured) -> OutputErrors:
        """How far the outputs are apart."""
        ...

    def stage(
        self,
        reference: _Measured,
        candidate: _Measured,
        name: str,
        against: str,
        *,
        size_bytes: int = 0,
        latency_ms: float | None = None,
        note: str = "",
    ) -> Stage:
        """The candidate as stage `name` of the report, compared with stage `against`."""
        ...

    def worst(self, reference: _Measured, candidate: _Measured) -> WorstImages:
        """The images that changed most."""
        ...


AnyYardstick: TypeAlias = "Yardstick[Any]"


def standard_error(values: NDArray[Any]) -> float | None:
    """Of the mean of values [M]; None of fewer than two."""
    if len(values) < 2:
        return None
    return float(values.std(ddof=1, dtype=np.float64) / math.sqrt(len(values)))
