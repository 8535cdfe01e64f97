"""What the two end-to-end cases share: one 1280 x 720 frame to one box, 200 classes, k = 80."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.metrics.iou import aligned_iou

from ..harness import Answer, Session, WrongAnswerError
from .resize_frame import example_frame

__all__ = ["INPUTS", "THREADS", "eager", "ours", "prepare", "require_same_boxes"]

INPUTS = 8
THREADS = 2


def prepare(*heads: str) -> Callable[[Path], None]:
    """Write the engines of these heads."""

    def write(work: Path) -> None:
        from ..models import write_engine

        for head in heads:
            write_engine(work, head)

    return write


def ours(head: str) -> Callable[[Path], Session]:
    """`Localizer.run`."""

    def open_session(work: Path) -> Session:
        from bas_edge import Localizer

        localizer = Localizer(work / f"{head}.engine", threads=THREADS)
        frames = [example_frame(seed) for seed in range(INPUTS)]

        def call(index: int) -> Answer:
            found = localizer.run(frames[index], color="rgb")
            timing = found.timing
            stages = {"pre": timing.pre_ms, "infer": timing.infer_ms, "post": timing.post_ms}
            return Answer(found.box, stages)

        return call

    return open_session


def eager(head: str) -> Callable[[Path], Session]:
    """Pillow, eager torch and published post-processing, on the same weights."""

    def open_session(work: Path) -> Session:
        from ..models import open_eager

        localizer = open_eager(work, head, THREADS)
        frames = [example_frame(seed) for seed in range(INPUTS)]

        def call(index: int) -> Answer:
            result = localizer.run(frames[index])
            return Answer(result.box, result.stages_ms)

        return call

    return open_session


def require_same_boxes(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> str:
    """Boxes [inputs, 4] of the same weights must agree to IoU 0.99; says how well they do."""
    ious = aligned_iou(ours.astype(np.float64), theirs.astype(np.float64))
    if not (ious >= 0.99).all():
        worst = int(ious.argmin())
        raise WrongAnswerError(
            f"frame {worst}: ours gives the box {ours[worst].tolist()}, the eager model "
            f"{theirs[worst].tolist()} (IoU {ious[worst]:.3f})"
        )
    return f"boxes of {len(ious)} frames agree with eager torch (lowest IoU {ious.min():.3f})"
