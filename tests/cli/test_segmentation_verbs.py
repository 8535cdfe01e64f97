"""The verbs of segmentation hand their options to one public function each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

Say = Callable[..., tuple[int, str, str]]


def test_train_with_several_labels(monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    made: list[Any] = []

    def train(*args: Any, **options: Any) -> SimpleNamespace:
        made.append((args, options))
        return SimpleNamespace(
            seconds=60.0, epochs=1, steps=2, metrics={}, converted={}, warnings=(), skipped={},
            checkpoint="c", next_command="bas-edge seeds c",
        )  # fmt: skip

    where = "bas_edge_training.segmentation.bas_training.train_multi_label"
    monkeypatch.setattr(where, train)
    words = ("--task", "segmentation", "--split", "val", "--epochs", 3, "--pretrained", "w")
    code, out, _ = say("train", "VOC2012", *words)
    assert code == 0
    assert "bas-edge seeds c" in out
    ((args, options),) = made
    assert args == (Path("VOC2012"), Path("runs/VOC2012"), None)
    assert (options["split"], options["pretrained"]) == ("val", "w")
    assert options["overrides"] == ["schedule.epochs=3"]


def test_seeds(monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    made: list[Any] = []

    def make(*args: Any, **options: Any) -> SimpleNamespace:
        made.append((args, options))
        return SimpleNamespace(
            folder="masks", images=3, background=1, threshold=0.53, seeds=None, refined=None,
            skipped={"bad.jpg": "it is damaged"}, next_command="bas-edge train-segmenter masks",
        )  # fmt: skip

    monkeypatch.setattr("bas_edge_training.segmentation.pseudo_masks.make_masks", make)
    code, out, err = say("seeds", "run", "VOC2012", "-o", "masks", "--walk-steps", 4, "--resume")
    assert code == 7
    assert "Wrote 3 masks, cut at 0.53, to masks" in out
    assert "1 image without any class: background everywhere" in out
    assert "bad.jpg: it is damaged" in err
    ((args, options),) = made
    assert args == (Path("run"), Path("VOC2012"), Path("masks"))
    assert (options["threshold"], options["resume"]) == (None, True)
    assert (options["walk"].steps, options["scales"]) == (4, (1.0, 0.5, 1.5, 2.0))


@pytest.mark.parametrize(("words", "resume"), [((), False), (("--auto-resume",), "auto")])
def test_train_segmenter(
    monkeypatch: pytest.MonkeyPatch, say: Say, words: tuple[str, ...], resume: object
) -> None:
    made: list[Any] = []

    def train(*args: Any, **options: Any) -> SimpleNamespace:
        made.append((args, options))
        return SimpleNamespace(
            seconds=60.0, epochs=1, steps=2, metrics={"loss": 0.5, "fg": 0.0}, skipped={},
            checkpoint="c", next_command="bas-edge export c",
            converted={"grey": 1}, warnings=("No training image has 'cat'.",),
        )  # fmt: skip

    where = "bas_edge_training.segmentation.segmenter_training.train_segmenter"
    monkeypatch.setattr(where, train)
    code, out, _ = say(
        "train-segmenter", "masks", "--start", "run", "--epochs", 3, "--set", "data.crop=64", *words
    )
    assert code == 0
    assert "fg" not in out
    assert "note: 1 image was grey\nnote: No training image has 'cat'.\n" in out
    ((args, options),) = made
    assert args == (Path("masks"), Path("runs/masks_segmenter"), None)
    assert (options["start"], options["resume"]) == (Path("run"), resume)
    assert options["overrides"] == ["schedule.epochs=3", "data.crop=64"]


@pytest.mark.parametrize("name", ["--qat", "--validation", "--background", "--validation-split"])
def test_an_option_of_the_other_task_is_refused(say: Say, name: str) -> None:
    code, _, err = say("train", "data", "--task", "segmentation", name, "given")
    assert code == 2
    assert f"{name} is not for --task segmentation." in err
