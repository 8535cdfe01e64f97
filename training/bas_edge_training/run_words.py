"""What a run says about itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from bas_edge_training.data import TrainingData
from bas_edge_training.recipe import Recipe
from bas_edge_training.team import Team
from bas_edge_training.trainer import DivergenceError

__all__ = ["explained_divergence", "introduction"]


def introduction(
    data: TrainingData,
    name: str,
    recipe: Recipe,
    device: torch.device,
    model: nn.Module,
    team: Team,
) -> Iterator[str]:
    """What is trained on what, and what the user should know before it begins.

    Args:
        name: Of the recipe.
    """
    yield (
        f"{len(data.paths)} images of {len(data.classes)} classes, "
        f"{len(data.validation_paths)} more held out, {len(data.background)} without an "
        f"object; recipe {name} ({recipe.sha256[:12]}), device {device}."
    )
    if team.size > 1:
        yield f"{team.size} processes share each batch of {recipe.data.batch_size}."
    normalised = any(isinstance(part, nn.BatchNorm2d) for part in model.modules())
    if normalised and device.type == "cpu" and team.size > 1:
        yield (
            "note: on CPUs each process normalises its own part of a batch, so that results "
            "depend on their number."
        )
    for warning in data.warnings:
        yield f"note: {warning}"


def explained_divergence(error: DivergenceError, lr: float, last: Path) -> DivergenceError:
    """The error with what to do about it; `last` is the file of the last good state, if any."""
    kept = f"The last good state is kept in {last.parent}. " if last.is_file() else ""
    return DivergenceError(
        f"{error} The learning rate is {lr:g}.",
        hint=f"{kept}Train again with a lower one: --set optimizer.lr={lr / 2:g}",
    )
