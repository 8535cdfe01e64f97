"""MaxBoxAcc and MaxBoxAccV2: accuracy at the best cut there could have been.

Both look at the boxes to choose the cut, so they bound what any rule can reach; they are not
what a deployed engine does. `bas_edge.metrics.threshold` has what it does.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics.protocols import IOU_LEVELS, BoxIous, BoxProtocol

__all__ = ["MaxBoxAcc", "MaxBoxAccV2", "max_box_acc", "max_box_acc_v2"]


class MaxBoxAcc(msgspec.Struct, frozen=True, kw_only=True):
    """The best accuracy over a grid of cuts, and the first cut that reaches it."""

    accuracy: float
    threshold: float


class MaxBoxAccV2(msgspec.Struct, frozen=True, kw_only=True):
    """MaxBoxAcc at several IoU levels, each at its own best cut.

    Attributes:
        mean: Mean over the levels, in percent.
        by_iou: From the IoU level ("0.3", "0.5", "0.7") to its MaxBoxAcc.
    """

    mean: float
    by_iou: dict[str, MaxBoxAcc]


def max_box_acc(
    sweep: BoxIous,
    thresholds: NDArray[np.float64],
    protocol: BoxProtocol,
    level: float = 0.5,
) -> MaxBoxAcc:
    """MaxBoxAcc of the largest region's box.

    Args:
        sweep: IoUs [T, N] from `protocol.sweep`.
        thresholds: The T cuts of the sweep.
        protocol: Decides which IoUs are correct.
        level: The IoU to reach.

    Raises:
        InputError: There is no image, or the grid and the sweep disagree.
    """
    return _best_cut(sweep.largest, thresholds, protocol, level)


def max_box_acc_v2(
    sweep: BoxIous,
    thresholds: NDArray[np.float64],
    protocol: BoxProtocol,
    levels: tuple[float, ...] = IOU_LEVELS,
) -> MaxBoxAccV2:
    """MaxBoxAccV2 of the best box that the protocol may pick; arguments as `max_box_acc`."""
    by_iou = {str(level): _best_cut(sweep.best, thresholds, protocol, level) for level in levels}
    mean = float(np.mean([one.accuracy for one in by_iou.values()]))
    return MaxBoxAccV2(mean=mean, by_iou=by_iou)


def _best_cut(
    ious: NDArray[np.float64],  # [T, N]
    thresholds: NDArray[np.float64],
    protocol: BoxProtocol,
    level: float,
) -> MaxBoxAcc:
    if ious.shape[0] != len(thresholds) or ious.size == 0:
        raise InputError(
            f"A sweep of {list(ious.shape)} (cuts, images) does not fit "
            f"{len(thresholds)} thresholds.",
            hint="Give the grid the sweep was made with, and at least one image.",
        )
    accuracy = 100.0 * protocol.correct(ious, level).sum(axis=1) / ious.shape[1]  # [T]
    at = int(accuracy.argmax())
    return MaxBoxAcc(accuracy=float(accuracy[at]), threshold=float(thresholds[at]))
