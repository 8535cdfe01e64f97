"""The label-free threshold: chosen from a model's own maps, without any box."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.metrics.label_free import NETWORK_CAP, NETWORK_FACTOR, network_cut
from bas_edge.ops import aggregate_maps
from bas_edge_training.models import BasModel
from bas_edge_training.recipe import LocalizationSection
from bas_edge_training.trainer import to_network
from bas_edge_training.validation import evaluation_mode

__all__ = [
    "DEFAULT_TOP_K",
    "THRESHOLD_IMAGES",
    "averaged_maps",
    "label_free_threshold",
    "run_threshold",
]

DEFAULT_TOP_K = 80  # published for fine-grained classes, where their maps agree
THRESHOLD_IMAGES = 192
_BATCH = 16


def averaged_maps(options: LocalizationSection, classes: int) -> int:
    """How many of the maps of so many classes are averaged by default."""
    return min(classes, options.top_k or DEFAULT_TOP_K)


def run_threshold(
    model: BasModel, frames: NDArray[np.uint8], options: LocalizationSection, recipe: str
) -> ThresholdPolicy | None:
    """The threshold of a finished run: the recipe's, where it has one, else `label_free_threshold`.

    Args:
        model, frames: As for `label_free_threshold`.
        options: Of the recipe that is called `recipe`.
    """
    if options.threshold:
        base, *overrides = recipe.split(", ")
        own = [text for text in overrides if text.startswith("localization.")]
        chosen_by = f"recipe {', '.join([base, *own])}"
        return ThresholdPolicy(rule="fixed", value=options.threshold, chosen_by=chosen_by)
    averaged = averaged_maps(options, model.config.num_classes)
    return label_free_threshold(model, frames, top_k=averaged)


def label_free_threshold(
    model: BasModel, frames: NDArray[np.uint8], *, top_k: int | None = None
) -> ThresholdPolicy | None:
    """One fixed cut for a network: 1.9 times the mean of many of its normalised maps, at most 0.7.

    A cut per map would follow the object's size; this one follows only the network.
    docs/evaluation.md compares it with other rules and with the best cut in hindsight.

    Args:
        model: Any mode; it is left as it was.
        frames: Unboxed images of the training set, uint8 [M, H, W, 3] at network size.
        top_k: How many class maps are averaged. Default: 80, or all of fewer.

    Returns:
        None where there is no frame, or no map has any contrast.
    """
    k = top_k or min(model.config.num_classes, DEFAULT_TOP_K)
    maps = []
    device = next(model.parameters()).device
    with evaluation_mode(model):
        for at in range(0, len(frames), _BATCH):
            batch = torch.from_numpy(frames[at : at + _BATCH])
            logits, found = (x.float().cpu().numpy() for x in model(to_network(batch, device)))
            maps.append(aggregate_maps(found, logits, k))
    if not maps or all(np.ptp(found, axis=(1, 2)).max() == 0 for found in maps):
        return None
    return ThresholdPolicy(
        rule="fixed",
        value=round(network_cut(np.concatenate(maps)), 4),
        chosen_by=f"label-free: {NETWORK_FACTOR} × the mean of {len(frames)} unboxed maps, "
        f"at most {NETWORK_CAP}",
    )
