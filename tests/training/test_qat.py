"""`train(qat=…)`: from a checkpoint in float to one whose weights know what int8 does."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch

from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.errors import InputError
from bas_edge.quantization.layers import find_layers
from bas_edge.quantization.trained_ranges import read_trained_ranges
from bas_edge_training import TrainingInterrupted, TrainResult, export, load_checkpoint, train
from bas_edge_training.models import BasModel, fold_batch_norm
from bas_edge_training.progress import SilentReporter
from bas_edge_training.qat_start import read_qat_start
from bas_edge_training.recipe import Recipe, apply_overrides
from bas_edge_training.training_log import LogRow, read_log

Make = Callable[..., BasModel]
QAT = ("schedule.epochs=1", "qat.images=6")


class Notes(SilentReporter):
    """Keeps what is said, and presses Ctrl-C after a step."""

    def __init__(self, stop_at: int = 0) -> None:
        self.said: list[str] = []
        self.stop_at = stop_at

    def note(self, message: str) -> None:
        self.said.append(message)

    def step(self, row: LogRow) -> None:
        if row.step == self.stop_at:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def first(image_folder: Path, tmp_path: Path, tiny_recipe: Recipe) -> TrainResult:
    """A run in float, from scratch: with BatchNorm."""
    return train(image_folder, tmp_path / "first", tiny_recipe, overrides=["schedule.epochs=1"])


def weights(folder: Path) -> bytes:
    """The tensors of a checkpoint, without its header."""
    content = (folder / "checkpoint.safetensors").read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_folded_model_is_the_same_function(make_model: Make) -> None:
    model = make_model("edge", norm="batch")
    folded = fold_batch_norm(model)
    assert folded.config.norm == "none"
    assert not folded.training
    assert fold_batch_norm(folded) is folded
    frames = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        for one, other in zip(model(frames), folded(frames), strict=True):
            assert float(one.std()) > 0.01
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # float32


def test_finetuned_checkpoint_exports_with_its_ranges(
    first: TrainResult, image_folder: Path, tmp_path: Path
) -> None:
    notes = Notes()
    result = train(image_folder, tmp_path / "qat", qat=first.folder, overrides=QAT, reporter=notes)
    assert result.steps == 3
    before, after = load_checkpoint(first.folder), load_checkpoint(result.folder)
    trained = after.info.trained_ranges
    assert trained is not msgspec.UNSET
    assert (trained.flavour, trained.method, trained.images) == ("tensorrt", "mse", 6)
    assert after.info.recipe == "custom, schedule.epochs=1, qat, schedule.epochs=1, qat.images=6"
    assert after.info.threshold is not None
    assert after.model.config.norm == "none"
    assert after.model.config.shift_x == before.model.config.shift_x
    assert any("30 tensors rounded as for tensorrt, ranges by mse on 6" in s for s in notes.said)
    moved = after.model.generator.conv.weight - before.model.generator.conv.weight
    assert 0 < moved.abs().max() < 0.1
    for simplify in (False, True):
        report = export(result.folder, tmp_path / "m.onnx", simplify=simplify, overwrite=True)
        assert report.trained_ranges == trained == read_trained_ranges(report.path)
        graph = OnnxGraph.read(report.path)
        assert "QuantizeLinear" not in {node.op_type for node in graph.nodes}
        assert trained.codes(graph, find_layers(graph), "onnxruntime")
    assert ("int8", "30 trained ranges, for tensorrt") in report.rows()
    assert json.loads(json.dumps(report.to_dict()))["trained_ranges"]["images"] == 6
    for method in ("cam", "eigencam"):  # the same tensors but for the generator's
        path = tmp_path / f"{method}.onnx"
        export(result.folder, path, method=method, simplify=False)
        assert read_trained_ranges(path) == trained


def test_float_checkpoints_say_nothing_of_ranges(first: TrainResult, tmp_path: Path) -> None:
    """So older versions read them, and their graphs carry none."""
    described = json.loads((first.folder / "checkpoint.json").read_text())
    assert "trained_ranges" not in described
    assert "qat" not in described["recipe_content"]
    report = export(first.folder, tmp_path / "m.onnx", simplify=False)
    assert report.trained_ranges is None
    assert read_trained_ranges(report.path) is None
    assert "int8" not in dict(report.rows())


def test_recipe_is_a_short_form_of_the_checkpoint_s_own(first: TrainResult) -> None:
    start = read_qat_start(first.folder)
    name, recipe = start.recipe(None, ["training.seed=5"])
    began = first.folder / "checkpoint.json"
    own = json.loads(began.read_text())["recipe_content"]
    assert name == "custom, schedule.epochs=1, qat, training.seed=5"
    assert recipe.schedule.epochs == 2
    assert recipe.optimizer.lr == pytest.approx(0.05 * own["optimizer"]["lr"])
    assert recipe.data.batch_size == own["data"]["batch_size"]
    assert (recipe.model.norm, recipe.model.width, recipe.training.seed) == ("none", 0.125, 5)
    assert start.recipe("cub50_paper", ["optimizer.lr=0.5"])[1].model == recipe.model
    with pytest.raises(InputError, match=r"recipe changes model\.head \('edge', 'paper'\)"):
        start.recipe(None, ["model.head=paper"])
    with pytest.raises(InputError, match="The recipe segmenter trains a segmenter"):
        start.recipe("segmenter", [])
    with pytest.raises(InputError, match=r"recipe changes data\.crop \(32, 48\)"):
        start.recipe(None, ["data.crop=48", "data.resize=48"])


def test_other_classes_are_refused_before_anything_is_written(
    first: TrainResult, image_folder: Path, tmp_path: Path
) -> None:
    (image_folder / "ant").rename(image_folder / "dog")
    with pytest.raises(InputError, match=r"knows 'ant' as class 0, .* has 'bee'"):
        train(image_folder, tmp_path / "qat", qat=first.folder)
    for path in (image_folder / "dog").iterdir():
        path.unlink()
    (image_folder / "dog").rmdir()
    with pytest.raises(InputError, match=r"knows 3 classes, .* has 2"):
        train(image_folder, tmp_path / "qat", qat=first.folder)
    with pytest.raises(InputError, match="not with pretrained weights"):
        train(image_folder, tmp_path / "qat", qat=first.folder, pretrained="w.safetensors")
    assert not (tmp_path / "qat").exists()


def test_interrupted_run_resumes_to_the_same_bits(
    first: TrainResult, image_folder: Path, tmp_path: Path
) -> None:
    options = [*QAT, "training.ema=0.9", "qat.flavour=onnxruntime", "qat.ranges=min-max"]
    with pytest.raises(TrainingInterrupted):
        train(image_folder, tmp_path / "a", qat=first.folder, overrides=options,
              reporter=Notes(stop_at=1))  # fmt: skip
    resumed = train(image_folder, tmp_path / "a", resume=True)
    whole = train(image_folder, tmp_path / "b", qat=first.folder, overrides=options)
    assert weights(resumed.folder) == weights(whole.folder)
    assert [r.loss for r in read_log(resumed.folder / "log.csv")] == [
        r.loss for r in read_log(whole.folder / "log.csv")
    ]
    ranges = [load_checkpoint(r.folder).info.trained_ranges for r in (resumed, whole)]
    assert ranges[0] == ranges[1] != msgspec.UNSET


def test_a_float_run_is_not_resumed_as_another(
    first: TrainResult, image_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    with pytest.raises(TrainingInterrupted):
        train(image_folder, tmp_path / "a", tiny_recipe, reporter=Notes(stop_at=1))
    with pytest.raises(InputError, match=r"a began without --qat\."):
        train(image_folder, tmp_path / "a", qat=first.folder, resume=True)


def test_unknown_ranges_are_refused(tiny_recipe: Recipe) -> None:
    with pytest.raises(InputError, match=r"qat\.ranges is 'widest', not one of min-max, "):
        apply_overrides(tiny_recipe, ["qat.ranges=widest"])
    assert apply_overrides(tiny_recipe, ["qat.images=9"]).sha256 != tiny_recipe.sha256
