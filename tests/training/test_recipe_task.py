"""A recipe of another task is refused before anything is read, with the command that takes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bas_edge.errors import InputError
from bas_edge_training import train
from bas_edge_training.recipe import load_recipe, recipe_differences, recipe_names
from bas_edge_training.segmentation.bas_training import train_multi_label
from bas_edge_training.segmentation.segmenter_training import train_segmenter

SEGMENTATION = "bas-edge train DATA --task segmentation --recipe segmentation"


@pytest.mark.parametrize(
    ("command", "recipe", "hint"),
    [
        (train, "segmentation", SEGMENTATION),
        (train, "segmenter", "bas-edge train-segmenter MASKS --recipe segmenter"),
        (train_multi_label, "demo", "bas-edge train DATA --recipe demo"),
        (train_segmenter, "segmentation", SEGMENTATION),
    ],
)
def test_a_recipe_of_another_task_is_refused(
    command: Callable[..., Any], recipe: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"^The recipe {recipe} trains ") as caught:
        command(tmp_path, tmp_path / "run", recipe)
    assert caught.value.hint == hint
    with pytest.raises(InputError, match=r"^The recipe custom trains "):
        command(tmp_path, tmp_path / "run", load_recipe(recipe))


def test_a_recipe_that_names_no_task_is_for_any(tmp_path: Path) -> None:
    for command in (train, train_multi_label, train_segmenter):
        for given in ({"recipe": "default"}, {"recipe": "demo", "overrides": ["model.task=any"]}):
            with pytest.raises(InputError) as caught:  # there are no images
                command(tmp_path, tmp_path / "run", **given)
            assert not str(caught.value).startswith("The recipe")


def test_every_installed_recipe_but_the_default_names_its_task() -> None:
    tasks = {name: load_recipe(name).model.task for name in recipe_names()}
    assert {name for name, task in tasks.items() if task == "any"} == {"default"}
    others = {name: task for name, task in tasks.items() if task not in ("any", "localization")}
    expected = {"segmentation": "segmentation", "segmentation_voc": "segmentation"}
    assert others == {**expected, "segmenter": "segmenter"}


def test_a_task_changes_neither_the_hash_nor_what_a_resume_compares() -> None:
    named, unnamed = load_recipe("demo"), load_recipe("demo", ["model.task=any"])
    assert named.sha256 == unnamed.sha256
    assert recipe_differences(named, unnamed) == []
