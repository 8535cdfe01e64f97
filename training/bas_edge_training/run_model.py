"""The model of a run: how it begins, and what is doubtful about it in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bas_edge_training.export_rehearsal import export_problem
from bas_edge_training.models import (
    BasModel,
    ModelConfig,
    build_model,
    find_backbone,
    load_pretrained,
)
from bas_edge_training.pretrained import fetch_pretrained
from bas_edge_training.progress import Reporter
from bas_edge_training.recipe import Recipe

__all__ = ["doubts", "new_model"]


def new_model(recipe: Recipe, classes: int, pretrained: str, reporter: Reporter) -> BasModel:
    """As the recipe says, from torch's global generator, with the pretrained backbone if any.

    Of a foreign backbone that could not be exported afterwards, the reporter is told why.

    Raises:
        InputError: No such backbone, not with these options, or weights of another.
    """
    options = recipe.model
    backbone = find_backbone(options.architecture)
    norm = options.norm
    if norm == "auto":
        kept = backbone.foreign or not pretrained
        norm = "batch" if backbone.batch_norm and kept else "none"
    model = build_model(
        ModelConfig(
            architecture=options.architecture,
            width=options.width,
            head=options.head,
            map_stride=options.map_stride,
            atrous=options.atrous,
            centred=options.centred,
            num_classes=classes,
            norm=norm,
            input_size=recipe.data.crop,
            conventions=backbone.conventions,
        )
    )
    if backbone.foreign and (problem := export_problem(model)) is not None:
        reporter.note(f"{options.architecture} can be trained, but not be exported: {problem}")
    if pretrained:
        report = load_pretrained(model, fetch_pretrained(pretrained))
        reporter.note(f"Backbone: {report.loaded} tensors from {report.path}.")
    return model


def doubts(metrics: Mapping[str, float], classes: int) -> Iterator[str]:
    """Sentences on what is probably wrong with a finished model.

    Args:
        metrics: Means over the last complete epoch; empty where there was none.
        classes: How many there are.
    """
    chance, reached = 1 / classes, metrics.get("top1")
    if reached is not None and classes > 1 and reached < min(2 * chance, chance + 0.1):
        yield (
            f"The class scores stayed near chance: top-1 {reached:.1%} in training, "
            f"{chance:.1%} by guessing. Train for more epochs; if that does not help, raise "
            "schedule.warmup_steps or lower optimizer.lr."
        )
