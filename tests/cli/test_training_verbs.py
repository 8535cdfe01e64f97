"""train and export hand their options to one public function each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

Invoke = Callable[..., tuple[int, list[Any], str]]
Say = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Trained:
    """The fields of TrainResult that the verb shows."""

    checkpoint: Path = Path("runs/birds/checkpoint.safetensors")
    epochs: int = 2
    steps: int = 10
    seconds: float = 90.0
    metrics: tuple[tuple[str, float], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    converted: tuple[tuple[str, int], ...] = (("grey", 3),)
    warnings: tuple[str, ...] = ("class 'wren' has only one image.",)
    next_command: str = "bas-edge export runs/birds"


def trained(**changes: Any) -> SimpleNamespace:
    fields = {**Trained().__dict__, **changes}
    for name in ("metrics", "skipped", "converted"):
        fields[name] = dict(fields[name])
    return SimpleNamespace(**fields)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """What the verb called `train` with."""
    made: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def train(*args: Any, **options: Any) -> SimpleNamespace:
        made.append((args, options))
        return trained()

    monkeypatch.setattr("bas_edge_training.train", train)
    return made


def test_train_passes_its_options(calls: list[Any], say: Say) -> None:
    words = ("--recipe", "demo", "--pretrained", "w.safetensors", "--validation", "val.csv")
    words += ("--split", "trainval", "--validation-split", "test")
    more = ("--background", "empty", "--epochs", 3, "--seed", 7, "--deterministic", "--workers", 0)
    overrides = ("--set", "optimizer.lr=0.002", "--set", "loss.beta=1.5", "--resume")
    code, out, err = say("train", "birds.csv", *words, *more, *overrides)
    assert (code, err) == (0, "")
    ((args, options),) = calls
    assert args == (Path("birds.csv"), Path("runs/birds"), "demo")
    assert options.pop("reporter") is not None
    assert options == {
        "pretrained": "w.safetensors",
        "qat": None,
        "split": "trainval",
        "validation": Path("val.csv"),
        "validation_split": "test",
        "background": Path("empty"),
        "overrides": [
            "schedule.epochs=3",
            "training.seed=7",
            "training.deterministic=true",
            "machine.workers=0",
            "optimizer.lr=0.002",
            "loss.beta=1.5",
        ],
        "resume": True,
        "overwrite": False,
    }
    assert out.startswith("Trained 2 epochs (10 steps) in 1.5 minutes\n")
    assert "note: 3 images were grey\n" in out
    assert "note: class 'wren' has only one image.\n" in out
    assert out.endswith("Next:\n  bas-edge export runs/birds\n")


def test_auto_resume(calls: list[Any], say: Say) -> None:
    assert say("train", "birds.csv", "--auto-resume")[0] == 0
    assert calls[0][1]["resume"] == "auto"


def test_in_a_team_one_process_tells_and_skipped_images_are_no_crash(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped = (("a.jpg", "it is damaged."),)
    monkeypatch.setattr("bas_edge_training.train", lambda *_, **__: trained(skipped=skipped))
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RANK", "0")
    code, out, err = say("train", "birds")
    assert (code, err) == (0, "note: 1 image was skipped; the first: a.jpg: it is damaged.\n")
    assert "Next:" in out
    monkeypatch.setenv("RANK", "1")
    assert say("train", "birds") == (0, "", "")


def test_what_another_process_tells_is_told_once(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    from bas_edge_training.team_failure import PeerError

    def fail(told: bool) -> None:
        raise PeerError("The loss became nan.", told=told, exit_code=5)

    monkeypatch.setattr("bas_edge_training.train", lambda *_, **__: fail(True))
    assert say("train", "birds") == (5, "", "")
    monkeypatch.setattr("bas_edge_training.train", lambda *_, **__: fail(False))
    assert say("train", "birds") == (5, "", "bas-edge: The loss became nan.\n")


def test_train_says_which_images_it_skipped(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    skipped = (("a.jpg", "it is damaged."), ("b.jpg", "it is empty."))
    monkeypatch.setattr("bas_edge_training.train", lambda *_, **__: trained(skipped=skipped))
    code, out, err = say("train", "birds", "-o", "runs/x")
    assert code == 7
    assert "bas-edge: 2 images were skipped; the first: a.jpg: it is damaged.\n" in err
    assert "Next:" in out


def test_one_is_singular(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"epochs": 1, "steps": 1, "converted": (("grey", 1),), "skipped": (("a", "it is b"),)}
    monkeypatch.setattr("bas_edge_training.train", lambda *_, **__: trained(**changes))
    _, out, err = say("train", "birds", "-o", "runs/x")
    assert out.startswith("Trained 1 epoch (1 step) in ")
    assert "note: 1 image was grey\n" in out
    assert "bas-edge: 1 image was skipped; the first: a: it is b" in err


@pytest.mark.parametrize("words", ["train birds", "export birds", "analyse birds val.csv"])
@pytest.mark.parametrize("module", ["torch", "safetensors"])
def test_without_the_train_extra(
    words: str, module: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    code, _, err = say(*words.split())
    assert code == 3
    assert f"needs the module '{module}', which is not installed." in err
    assert "hint: pip install 'bas-edge[train]'" in err


def test_a_folder_without_images(say: Say, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = say("train", tmp_path / "empty", "-o", tmp_path / "run")
    assert code == 2
    assert "empty" in err
    assert not (tmp_path / "run").exists()


def test_a_misspelt_recipe_key(say: Say, tmp_path: Path) -> None:
    code, _, err = say("train", tmp_path, "-o", tmp_path / "run", "--set", "loss.betta=1")
    assert code == 2
    assert "Did you mean 'beta'?" in err


def test_export_passes_its_options(
    say: Say, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[Any] = []

    def export(*args: Any, reporter: Callable[[str], None], **options: Any) -> SimpleNamespace:
        calls.append((args, options))
        reporter("writing the graph")
        return SimpleNamespace(
            rows=lambda: [("maps", "all")],
            to_dict=lambda: {"maps": "all"},
            next_command="bas-edge build-engine model.onnx",
        )

    monkeypatch.setattr("bas_edge_training.export", export)
    options = ("--maps", "selected", "--k", 8, "--top-k", 4, "--images", "photos")
    options += ("--input-size", 192, "--no-simplify", "--method", "cam")
    code, out, err = say("export", tmp_path, *options, "--overwrite")
    assert (code, err) == (0, "writing the graph\n")
    assert out == "  maps  all\n\nNext:\n  bas-edge build-engine model.onnx\n"
    assert calls == [
        (
            (tmp_path, tmp_path / "model.onnx"),
            {
                "method": "cam",
                "maps": "selected",
                "k": 8,
                "top_k": 4,
                "images": Path("photos"),
                "input_size": 192,
                "simplify": False,
                "overwrite": True,
            },
        )
    ]
    assert invoke("export", tmp_path / "x.safetensors", "-o", "y.onnx")[1] == [{"maps": "all"}]
    assert calls[1][0] == (tmp_path / "x.safetensors", Path("y.onnx"))


def test_a_checkpoint_that_is_not_there(say: Say, tmp_path: Path) -> None:
    code, _, err = say("export", tmp_path / "nothing")
    assert code == 2
    assert "nothing" in err
