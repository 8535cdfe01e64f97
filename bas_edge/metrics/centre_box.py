"""The baseline that looks at nothing: one box in the middle of every frame."""

from __future__ import annotations

import msgspec
import numpy as np

from bas_edge.errors import InputError
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.iou import aligned_iou
from bas_edge.metrics.protocols import IOU_LEVELS

__all__ = ["CentreBox", "centre_box"]


class CentreBox(msgspec.Struct, frozen=True, kw_only=True):
    """The best centred box at each IoU level. A localizer below it has learnt nothing.

    Attributes:
        by_iou: From the IoU level ("0.3", "0.5", "0.7") to accuracy in percent.
        side: Share of the frame's width and height that the best box at IoU 0.5 covers.
    """

    by_iou: dict[str, float]
    side: float


def centre_box(truth: GroundTruth, levels: tuple[float, ...] = IOU_LEVELS) -> CentreBox:
    """Try centred boxes of 1 to 100 % of the frame's sides; IoU > level in the original frame.

    Raises:
        InputError: There is no image.
    """
    if len(truth) == 0:
        raise InputError("There is no image to measure.", hint="Give at least one with a box.")
    sides = np.arange(1, 101) / 100
    centre = np.tile(truth.frame_sizes / 2, 2)  # [N, 4]
    reach = centre * np.array([-1, -1, 1, 1])
    # One size after another: all at once would be gigabytes where images have dozens of boxes.
    ious = np.stack(
        [aligned_iou((centre + side * reach)[:, None], truth.boxes).max(axis=1) for side in sides]
    )  # [S, N]
    accuracy = {level: 100.0 * (ious > level).sum(axis=1) / len(truth) for level in (*levels, 0.5)}
    return CentreBox(
        by_iou={str(level): float(accuracy[level].max()) for level in levels},
        side=float(sides[int(accuracy[0.5].argmax())]),
    )
