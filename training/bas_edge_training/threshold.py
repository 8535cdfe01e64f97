"""The label-free threshold: chosen by the trained network itself, without any box."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.metrics.threshold import lambda_criterion
from bas_edge.ops import aggregate_maps
from bas_edge_training.models import BasModel
from bas_edge_training.trainer import to_network
from bas_edge_training.validation import evaluation_mode

__all__ = ["DEFAULT_TOP_K", "THRESHOLD_IMAGES", "criterion_curves", "label_free_threshold"]

DEFAULT_TOP_K = 80  # published for fine-grained classes, where their maps agree
THRESHOLD_IMAGES = 192
CUTS: NDArray[np.float64] = np.arange(45, 56) / 100  # 0.45 to 0.55 of each map's own range
_LAMBDA = 1.0  # a share of the class score is worth the same share of the map
_CRITERION_IMAGES = 96  # quarters of 192 choose cuts within 0.04 of each other
_BATCH = 16


def label_free_threshold(
    model: BasModel, frames: NDArray[np.uint8], *, top_k: int | None = None
) -> ThresholdPolicy | None:
    """One fixed cut for a network: about half of the map's range, where the BAS criterion is best.

    Each map is cut, what lies above is erased from the features, and the network is asked what
    is left of the class: at the cut with the smallest mean of S_bg / S + area, giving up more of
    the map would cost more of the score than it saves. The weight of the area is 1, and only
    cuts within 0.05 of one half are candidates, for every head and data set: on maps of few
    cells, whose rims still hold some of the object, the criterion alone runs to a low cut.
    docs/evaluation.md compares rules, and the best cut in hindsight.

    Args:
        model: Any mode; it is left as it was.
        frames: Unboxed images of the training set, uint8 [M, H, W, 3] at network size. Their
            labels are not needed: the class is the network's own best.
        top_k: How many class maps are averaged. Default: 80, or all of fewer.

    Returns:
        None where no frame has a map with contrast and a score above 0.
    """
    step = max(1, -(-len(frames) // _CRITERION_IMAGES))
    ratio, area = criterion_curves(model, frames[::step], top_k=top_k)
    if not len(ratio):
        return None
    return ThresholdPolicy(
        rule="fixed",
        value=round(lambda_criterion(ratio, area, CUTS, _LAMBDA), 4),
        chosen_by=f"label-free: least S_bg/S + area on {len(ratio)} unboxed images",
    )


def criterion_curves(
    model: BasModel,
    frames: NDArray[np.uint8],
    *,
    top_k: int | None = None,
    cuts: NDArray[np.float64] = CUTS,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """S_bg / S [M', T] and area [M', T] of every usable frame at every cut [T].

    A frame without contrast in its map, or whose best class scores at most 0, is left out.
    """
    k = top_k or min(model.config.num_classes, DEFAULT_TOP_K)
    device = next(model.parameters()).device
    ratios, areas = [np.empty((0, len(cuts)))], [np.empty((0, len(cuts)))]
    with evaluation_mode(model):
        for at in range(0, len(frames), _BATCH):
            batch = torch.from_numpy(frames[at : at + _BATCH])
            features = model.features(to_network(batch, device))
            logits = model.head.logits(model.tail(features.deep))
            maps = torch.sigmoid(model.generator(features))
            cells = _normalised(aggregate_maps(_array(maps), _array(logits), k))  # [n, h, w]
            score, label = logits.max(1)
            usable = np.flatnonzero((np.ptp(cells, axis=(1, 2)) > 0) & (_array(score) > 0))
            deep, score, label = features.deep[usable], score[usable], label[usable]
            ratio, area = np.empty((2, len(usable), len(cuts)))
            for column, cut in enumerate(cuts):
                above = cells[usable] > cut
                kept = torch.from_numpy(~above).to(deep).unsqueeze(1)
                left = model.head.logits(model.tail(deep * kept)).gather(1, label[:, None])
                ratio[:, column] = _array((F.relu(left[:, 0]) / score).clamp(max=1))
                area[:, column] = above.mean((1, 2))
            ratios.append(ratio)
            areas.append(area)
    return np.concatenate(ratios), np.concatenate(areas)


def _normalised(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each map [N, h, w] from 0 to 1; a flat one is all 0."""
    low = maps.min((1, 2), keepdims=True)
    span = maps.max((1, 2), keepdims=True) - low
    return (maps - low) / np.where(span > 0, span, 1)  # type: ignore[no-any-return]


def _array(values: torch.Tensor) -> NDArray[np.float32]:
    return values.float().cpu().numpy()
