"""The cases by name. Importing this imports no torch, no OpenCV and no inference library."""

from __future__ import annotations

from ..harness import Case, Comparison
from . import (
    cuda_ops,
    frame_to_box_edge,
    frame_to_box_gpu,
    frame_to_box_int8,
    frame_to_box_paper,
    frame_to_box_pareto,
    import_time,
    maps_to_boxes,
    resize_frame,
    scores_to_masks,
    train_step,
    video,
)

__all__ = ["CASES", "comparison"]

_MODULES = (
    maps_to_boxes,
    resize_frame,
    scores_to_masks,
    frame_to_box_paper,
    frame_to_box_edge,
    video,
    import_time,
    train_step,
    cuda_ops,
    frame_to_box_gpu,
)

CASES: dict[str, Case] = {
    case.name: case
    for case in (*(module.CASE for module in _MODULES), *frame_to_box_int8.CASES.values())
}


def comparison(name: str) -> Comparison:
    """The case of that name, or the part of one, which must be one that compares variants."""
    if name.startswith(frame_to_box_pareto.PREFIX):
        return frame_to_box_pareto.comparison_of(name)
    case = frame_to_box_gpu.COMPARISONS.get(name) or CASES[name]
    if not isinstance(case, Comparison):
        raise TypeError(f"{name} runs no worker processes")
    return case
