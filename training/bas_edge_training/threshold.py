"""The label-free threshold: chosen from a model's own maps, without any box."""

from __future__ import annotations

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.metrics.label_free import NETWORK_CAP, network_cut
from bas_edge_training.checkpoint import CheckpointInfo
from bas_edge_training.methods import BAS, Activations, Method
from bas_edge_training.models import BasModel
from bas_edge_training.recipe import LocalizationSection
from bas_edge_training.team import ALONE, Team
from bas_edge_training.trainer import to_network
from bas_edge_training.validation import evaluation_mode

__all__ = [
    "DEFAULT_THRESHOLD",
    "DEFAULT_TOP_K",
    "THRESHOLD_IMAGES",
    "averaged_maps",
    "label_free_threshold",
    "policy_of",
    "recipe_localization",
    "run_threshold",
]

# For maps that nothing is known of.
DEFAULT_THRESHOLD = ThresholdPolicy(rule="mean", value=1.5, chosen_by="label-free default")

DEFAULT_TOP_K = 80  # published for fine-grained classes, where their maps agree
THRESHOLD_IMAGES = 192
_BATCH = 16


def recipe_localization(info: CheckpointInfo) -> LocalizationSection:
    """What the recipe of a checkpoint said of maps and boxes."""
    return msgspec.convert(info.recipe_content.get("localization", {}), LocalizationSection)


def averaged_maps(options: LocalizationSection, classes: int, method: Method = BAS) -> int:
    """How many of the maps of so many classes are averaged by default; 1 of baselines."""
    return min(classes, options.top_k or DEFAULT_TOP_K) if method.averages else 1


def run_threshold(
    model: BasModel,
    frames: NDArray[np.uint8],
    options: LocalizationSection,
    recipe: str,
    team: Team = ALONE,
) -> ThresholdPolicy | None:
    """The threshold of a finished run: the recipe's, where it has one, else `label_free_threshold`.

    Args:
        model, frames, team: As for `label_free_threshold`.
        options: Of the recipe that is called `recipe`.
    """
    if options.threshold:
        base, *overrides = recipe.split(", ")
        own = [text for text in overrides if text.startswith("localization.")]
        chosen_by = f"recipe {', '.join([base, *own])}"
        return ThresholdPolicy(rule="fixed", value=options.threshold, chosen_by=chosen_by)
    averaged = averaged_maps(options, model.config.num_classes)
    return label_free_threshold(model, frames, top_k=averaged, team=team)


def label_free_threshold(
    model: BasModel,
    frames: NDArray[np.uint8],
    *,
    top_k: int | None = None,
    method: Method = BAS,
    team: Team = ALONE,
) -> ThresholdPolicy | None:
    """One fixed cut: a factor times the mean of many of its normalised maps, at most 0.7.

    A cut per map would follow the object's size; this one follows only the network.
    docs/evaluation.md compares it with other rules and with the best cut in hindsight.

    Args:
        model: Any mode; it is left as it was.
        frames: Unboxed images of the training set, uint8 [M, H, W, 3] at network size.
        top_k: How many class maps are averaged. Default: 80, or all of fewer; 1 of baselines.
        method: What computes the maps.
        team: Its processes, each with the same frames, do a part of the work each.

    Returns:
        None where there is no frame, or no map has any contrast.
    """
    k = top_k or averaged_maps(LocalizationSection(), model.config.num_classes, method)
    device = next(model.parameters()).device

    def maps_from(at: int) -> NDArray[np.float32]:
        batch = torch.from_numpy(frames[at : at + _BATCH])
        return method.foreground(Activations(model, to_network(batch, device)), top_k=k)

    with evaluation_mode(model):
        maps = team.shared(range(0, len(frames), _BATCH), maps_from)
    return policy_of(np.concatenate(maps), method) if maps else None


def policy_of(maps: NDArray[np.float32], method: Method) -> ThresholdPolicy | None:
    """The same from maps [M, h, w] that are there; None where none has any contrast."""
    if not len(maps) or np.ptp(maps, axis=(1, 2)).max() == 0:
        return None
    return ThresholdPolicy(
        rule="fixed",
        value=round(network_cut(maps, method.cut_factor), 4),
        chosen_by=f"label-free: {method.cut_factor} × the mean of {len(maps)} unboxed maps, "
        f"at most {NETWORK_CAP}",
    )
