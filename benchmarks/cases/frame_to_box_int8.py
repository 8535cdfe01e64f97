"""Frame to box in int8: against the eager paper head, and against our own float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.metrics.iou import aligned_iou

from ..harness import Comparison, WrongAnswerError
from .frame_to_box import INPUTS, THREADS, eager, ours, prepare

__all__ = ["CASES", "LARGEST_ERROR", "MAP_ERROR"]

MAP_ERROR, LARGEST_ERROR = 0.03, 0.15  # mean and largest, of int8 maps that span about 0.85
_LEAST_IOU = 0.7  # random weights see noise, of which one blob may be as large as the next


def _agree(answers: Mapping[str, NDArray[Any]]) -> str:
    """`prepare` holds the maps to float32; accuracy is that of trained networks, in its table."""
    ious = aligned_iou(answers["ours"].astype(np.float64), answers["ours, fp32"].astype(np.float64))
    if not ious.mean() >= _LEAST_IOU:
        raise WrongAnswerError(f"the boxes agree with float32 to a mean IoU of {ious.mean():.3f}")
    return (
        f"maps within {MAP_ERROR} of float32 in the mean and {LARGEST_ERROR} at most, boxes of "
        f"{len(ious)} frames with mean IoU {ious.mean():.2f} (random weights)"
    )


def _case(head: str, over_eager: float) -> Comparison:
    return Comparison(
        name=f"frame_to_box_int8_{head}",
        summary=f"frame to box, {head} head, int8, C=200",
        variants={
            "ours": ours(f"{head}-int8"),
            "eager paper head": eager("paper"),
            "ours, fp32": ours(head),
        },
        agree=_agree,
        inputs=INPUTS,
        threads=THREADS,
        targets={"eager paper head": over_eager, "ours, fp32": 1.9},
        block_s=2.0,
        prepare=prepare("paper", head, f"{head}-int8"),
    )


CASES = {"edge": _case("edge", 12.0), "paper": _case("paper", 4.0)}
