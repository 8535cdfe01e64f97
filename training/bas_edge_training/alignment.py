"""Where a map lies relative to its object, found without any box.

The cells of a network need not look at their own centre: padding, strides and what a pretrained
backbone learnt around them displace it by several pixels. Sideways that is measurable: the map
of a mirrored image should be the mirrored map, and where it is not, the two differ by twice the
displacement. (Images have no such symmetry top to bottom.)
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bas_edge.ops import upsample_maps
from bas_edge_training.models import BasModel
from bas_edge_training.team import ALONE, Team
from bas_edge_training.trainer import to_network
from bas_edge_training.validation import evaluation_mode

__all__ = ["align", "horizontal_displacement"]

_BATCH = 16


def align(model: BasModel, frames: NDArray[np.uint8], team: Team = ALONE) -> int:
    """Set the model's `shift_x` so that maps lie on their objects sideways, and return it.

    Args:
        model: Any mode.
        frames: Unboxed images, uint8 [M, H, W, 3] at network size; none leave the model as it is.
        team: Its processes, each with the same frames, do a part of the work each.
    """
    shift = model.config.shift_x + horizontal_displacement(model, frames, team)
    model.set_shift(shift)
    return shift


def horizontal_displacement(model: BasModel, frames: NDArray[np.uint8], team: Team = ALONE) -> int:
    """How many pixels maps lie to the right of what they show; 0 without frames.

    At most one cell of the maps to either side, and an eighth of very small frames.
    """
    if not len(frames):
        return 0
    as_seen = _mean_maps(model, frames, team)  # [M, H, W]
    mirrored = _mean_maps(model, np.ascontiguousarray(frames[:, :, ::-1]), team)[:, :, ::-1]
    width = frames.shape[2]
    farthest = min(model.config.map_stride, width // 8)
    margin = 2 * farthest
    centre = as_seen[:, :, margin : width - margin]
    moves = range(-farthest, farthest + 1)
    errors = [
        float(np.square(centre - mirrored[:, :, margin - 2 * d : width - margin - 2 * d]).mean())
        for d in moves
    ]
    return min(moves, key=lambda d: (errors[d + farthest], abs(d)))


def _mean_maps(model: BasModel, frames: NDArray[np.uint8], team: Team) -> NDArray[np.float32]:
    """Mean of all class maps, bilinear at network size: [M, H, W]."""
    device = next(model.parameters()).device

    def mean(at: int) -> Tensor:
        pixels = to_network(torch.from_numpy(frames[at : at + _BATCH]), device)
        return torch.sigmoid(model.generator(model.features(pixels))).mean(1).float().cpu()

    with evaluation_mode(model):
        maps = team.shared(range(0, len(frames), _BATCH), mean)
    return upsample_maps(torch.cat(maps).numpy(), frames.shape[1:3])
