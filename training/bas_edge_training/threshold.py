"""The label-free threshold: chosen from a model's own boxes, without any annotated one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.metrics.view_agreement import SIDES, random_windows, view_agreement
from bas_edge.ops import aggregate_maps, resize_frame
from bas_edge_training.models import BasModel
from bas_edge_training.trainer import to_network
from bas_edge_training.validation import evaluation_mode

__all__ = ["DEFAULT_TOP_K", "THRESHOLD_IMAGES", "label_free_threshold"]

DEFAULT_TOP_K = 80  # published for fine-grained classes, where their maps agree
THRESHOLD_IMAGES = 192
_VIEWS = 10
_BATCH = 16


def label_free_threshold(
    model: BasModel,
    frames: NDArray[np.uint8],
    *,
    top_k: int | None = None,
    sides: tuple[float, float] = SIDES,
) -> ThresholdPolicy | None:
    """One fixed cut for a network: the one at which boxes of images and of zooms into them agree.

    docs/evaluation.md compares it with other rules and with the best cut in hindsight.

    Args:
        model: Any mode; it is left as it was.
        frames: Unboxed images of the training set, uint8 [M, side, side, 3] at network size.
        top_k: How many class maps are averaged. Default: 80, or all of fewer.
        sides: How far to zoom: sides of the windows, as parts of the frame's.

    Returns:
        None where there are fewer than two frames, or no map has any contrast.
    """
    if len(frames) < 2:
        return None
    k, side = top_k or min(model.config.num_classes, DEFAULT_TOP_K), frames.shape[1]
    whole = _maps(model, frames, k)
    if not np.ptp(whole, axis=(1, 2)).any():
        return None
    windows = random_windows(len(frames), _VIEWS, side, sides=sides)
    views = np.stack([_maps(model, _shown(frames, window), k) for window in windows])
    agreement = view_agreement(whole, views, windows, side)
    return ThresholdPolicy(
        rule="fixed",
        value=round(agreement.cut, 3),
        chosen_by=f"label-free: boxes of {len(frames)} unboxed images and of zooms into them "
        f"agree best (κ {agreement.smoothed.max():.2f})",
    )


def _shown(frames: NDArray[np.uint8], windows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Each frame's window, stretched to the size of the frame."""
    size = frames.shape[1:3]
    return np.stack(
        [
            resize_frame(np.ascontiguousarray(frame[y0:y1, x0:x1]), size)
            for frame, (x0, y0, x1, y1) in zip(frames, windows.tolist(), strict=True)
        ]
    )


def _maps(model: BasModel, frames: NDArray[np.uint8], top_k: int) -> NDArray[np.float32]:
    """The map of each frame that the runtime cuts: [M, h, w]."""
    device = next(model.parameters()).device
    maps = []
    with evaluation_mode(model):
        for at in range(0, len(frames), _BATCH):
            batch = torch.from_numpy(frames[at : at + _BATCH])
            logits, found = (x.float().cpu().numpy() for x in model(to_network(batch, device)))
            maps.append(aggregate_maps(found, logits, top_k))
    return np.concatenate(maps)
