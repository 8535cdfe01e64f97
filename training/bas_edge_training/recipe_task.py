"""What a recipe is for: one of another task would train, and nobody would notice."""

from __future__ import annotations

from typing import Literal

from bas_edge.errors import InputError
from bas_edge_training.recipe import Recipe

__all__ = ["Task", "require_task"]

Task = Literal["localization", "segmentation", "segmenter"]

_TRAINED = {
    "localization": ("a localizer", "bas-edge train DATA"),
    "segmentation": ("BAS of several labels an image", "bas-edge train DATA --task segmentation"),
    "segmenter": ("a segmenter on masks", "bas-edge train-segmenter MASKS"),
}


def require_task(recipe: Recipe, source: object, task: Task) -> None:
    """Raise InputError, with the right command, unless the recipe is for `task` or for any.

    `source` is its name or file, as the user gave it.
    """
    stated = recipe.model.task
    if stated not in ("any", task):
        what, command = _TRAINED[stated]
        raise InputError(
            f"The recipe {source} trains {what}, but this command trains {_TRAINED[task][0]}.",
            hint=f"{command} --recipe {source}",
        )
