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


@pytest.mark.parametrize("name", ["--qat", "--validation", "--background", "--validation-split"])
def test_an_option_of_the_other_task_is_refused(say: Say, name: str) -> None:
    code, _, err = say("train", "data", "--task", "segmentation", name, "given")
    assert code == 2
    assert f"{name} is not for --task segmentation." in err
