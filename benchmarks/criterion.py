"""BAS's own objective as a threshold rule: what is left of the score when a cut map is erased."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bas_edge.metrics.label_free import normalised_cells
from bas_edge.ops import aggregate_maps
from bas_edge_training.models import BasModel
from bas_edge_training.threshold import DEFAULT_TOP_K
from bas_edge_training.trainer import to_network
from bas_edge_training.validation import evaluation_mode

__all__ = ["criterion_curves"]

_BATCH = 16


def criterion_curves(
    model: BasModel, frames: NDArray[np.uint8], cuts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """S_bg / S [M', T] and area [M', T] of every usable frame [M, H, W, 3] at every cut [T].

    The class is the network's own best. A frame without contrast in its map, or whose best class
    scores at most 0, is left out. `bas_edge.metrics.lambda_criterion` chooses a cut from them.
    """
    k = min(model.config.num_classes, DEFAULT_TOP_K)
    device = next(model.parameters()).device
    ratios, areas = [np.empty((0, len(cuts)))], [np.empty((0, len(cuts)))]
    with evaluation_mode(model):
        for at in range(0, len(frames), _BATCH):
            batch = torch.from_numpy(frames[at : at + _BATCH])
            features = model.features(to_network(batch, device))
            logits = model.head.logits(model.tail(features.deep))
            maps = torch.sigmoid(model.generator(features))
            averaged = aggregate_maps(_array(maps), _array(logits), k)
            cells = normalised_cells(averaged).reshape(averaged.shape)  # [n, h, w]
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


def _array(values: torch.Tensor) -> NDArray[np.float32]:
    return values.float().cpu().numpy()
