"""What a build with reduced precision is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from bas_edge.errors import InputError
from bas_edge.quantization.candidates import TRAINED
from bas_edge.quantization.ranges import METHODS
from bas_edge.quantization.yardstick import Bound

__all__ = ["AUTO", "PrecisionJob", "Source"]

AUTO = "auto"
Source = str | os.PathLike[str]


def _silent(*_: object) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class PrecisionJob:
    """How to reduce precision, and how much it may cost.

    Attributes:
        calibration: Images, CSV or video that ranges are measured on; see `calibration_frames`.
        method: Of calibration: one of METHODS, "qat" (the ranges of quantization-aware
            training), or "auto": all of them, the best by the bound.
        limit: Calibration frames at most.
        evaluation: Images that the bound is measured on: a CSV with boxes, or a folder, glob or
            CSV without; for a segmenter a VOC, COCO or index folder with masks, or images without.
            None keeps a fifth of the calibration images apart for it.
        evaluation_split: Which part of a data set with masks; None is "val".
        background: Images without any object, besides those of `evaluation`; not for a segmenter.
        bound: How much worse than float32 the engine may be.
        must_apply: Fields of the bound that somebody asked for by name: "max_drop" is refused where
            the images have no boxes or masks, "min_agreement" where they have.
        search_budget_s: Time to look for layers that must return to float; 0 does not look.
        reduce_range: Seven bits for weights; None decides by this CPU.
        force: Take fewer than 100 images, and write what the bound refuses.
        threads: Of ONNX Runtime.
        on_progress: Called with a phase and the share of it that is done, 0 to 1.
        note: Called with a sentence about anything that went another way than asked.
    """

    calibration: Source
    method: str = AUTO
    limit: int | None = 500
    evaluation: Source | None = None
    evaluation_split: str | None = None
    background: Source | None = None
    bound: Bound = field(default_factory=Bound)
    must_apply: tuple[str, ...] = ()
    search_budget_s: float = 1800.0
    reduce_range: bool | None = None
    force: bool = False
    threads: int | None = None
    on_progress: Callable[[str, float], None] = _silent
    note: Callable[[str], None] = _silent

    def __post_init__(self) -> None:
        known = (AUTO, *METHODS, TRAINED)
        if self.method not in known:
            raise InputError(
                f"Unknown calibration method '{self.method}'.", hint=f"Known: {', '.join(known)}"
            )
        if not self.search_budget_s >= 0:
            raise InputError(
                f"The search budget is {self.search_budget_s} s, but must be at least 0."
            )

    def phase(self, name: str) -> Callable[[int, int], None]:
        """A progress callback (done, total) that reports as `name`."""

        def report(done: int, total: int) -> None:
            self.on_progress(name, done / max(total, 1))

        report(0, 1)
        return report
