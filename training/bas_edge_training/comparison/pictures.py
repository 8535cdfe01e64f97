"""The images of the sheet, with what each method says of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bas_edge.annotations import Annotation
from bas_edge.errors import InputError
from bas_edge.metrics.iou import aligned_iou

from .agreement import boxes_of, heats_of
from .entrants import Entrant
from .report import ComparedImage, ComparedMap

__all__ = ["compared_images"]


def compared_images(
    entrants: Sequence[Entrant], items: Sequence[Annotation], count: int
) -> tuple[ComparedImage, ...]:
    """Up to `count` of the images, evenly spread.

    Raises:
        InputError: `count` is negative.
    """
    if count < 0:
        raise InputError(f"pictures is {count}, but must not be negative.")
    spread = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    chosen: list[int] = np.unique(spread).tolist()
    sizes = entrants[0].found.frame_sizes
    truth = {at: items[at].boxes_in(sizes[at]) for at in chosen}
    boxes = [boxes_of(each) for each in entrants]
    heats = [heats_of(each, chosen) for each in entrants] if len(chosen) else []
    return tuple(
        ComparedImage(
            path=str(items[at].path),
            class_name=items[at].class_name,
            truth=tuple(_corners(box) for box in truth[at]),
            maps=tuple(
                ComparedMap(
                    method=each.name,
                    heat=heat[row].tobytes(),
                    heat_size=(heat.shape[1], heat.shape[2]),
                    box=_corners(box[at]),
                    iou=float(aligned_iou(box[at][None], truth[at]).max())
                    if len(truth[at])
                    else None,
                )
                for each, box, heat in zip(entrants, boxes, heats, strict=True)
            ),
        )
        for row, at in enumerate(chosen)
    )


def _corners(box: NDArray[np.float64]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box.tolist()
    return (x0, y0, x1, y1)
