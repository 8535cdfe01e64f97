"""Scene cuts, seen in the frame of the cut itself.

A cut is where `likeness` is below `Smoothing.cut`, 0.65 as a rule. On one side of it are 8000 pairs
of unrelated photographs (COCO, CUB; four in ten thousand are more alike) and dog.mp4 followed by
itself mirrored (none is, although its background is nearly symmetric); on the other are its
neighbouring frames, frames a second apart, exposure halved and doubled, and a roll of 5° between
two frames. Of pans by up to a quarter of the frame at once one in a hundred is less alike, and so
is every zoom by a fifth between two frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bas_edge.video.steady.motion import Shift
from bas_edge.video.steady.small_picture import SMALL_SIZE, SmallPicture

__all__ = ["likeness"]


def likeness(before: SmallPicture, after: SmallPicture, shift: Shift) -> float:
    """How much of the scene two frames share: -1 to 1.

    The correlation of the two small pictures where they overlap once the camera's motion is taken
    back. So neither a pan nor a change of exposure lowers it. Two flat pictures are alike (1), a
    flat one and another are not (0).

    Args:
        before, after: The frames.
        shift: From `shift_between`; one that is not trusted counts as none.
    """
    if before.flat or after.flat:
        return float(before.flat and after.flat)
    down = round(shift.down * SMALL_SIZE[0])
    right = round(shift.right * SMALL_SIZE[1])
    first = _overlap(before.grey, -down, -right)
    second = _overlap(after.grey, down, right)
    first, second = first - first.mean(), second - second.mean()
    energy = float(np.sqrt((first * first).sum() * (second * second).sum()))
    # Where they overlap there may be nothing to see; the shift was trusted all the same.
    return float((first * second).sum()) / energy if energy > 0 else 1.0


def _overlap(grey: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
    """Without the edge that came into view when the picture moved `down` and `right`."""
    height, width = grey.shape
    return grey[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
