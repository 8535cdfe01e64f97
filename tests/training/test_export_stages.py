"""What `export` records about each form of the network, inside the file that it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

import bas_edge_training.exporting as export_module
from bas_edge.engine.build import build_engine
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge_training.exporting import export
from bas_edge_training.models import BasModel
from bas_edge_training.samples import synthetic_samples
from bas_edge_training.simplify import Simplification

Make = Callable[..., BasModel]
MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def folder(make_model: Make, make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint(make_model("edge"))


def nudged(model: onnx.ModelProto, _frames: object) -> tuple[onnx.ModelProto, Simplification]:
    """An onnxsim that moves one weight by what the parity check still takes for rounding."""
    other = onnx.ModelProto.FromString(model.SerializeToString())
    weights = next(i for i in other.graph.initializer if i.name.startswith("generator"))
    values = numpy_helper.to_array(weights) * np.float32(1 + 3e-7)
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    return other, Simplification(True, 68, 60)


def test_without_onnxsim_the_file_is_compared_with_torch(folder: Path, tmp_path: Path) -> None:
    report = export(folder, tmp_path / "m.onnx", simplify=False)
    torch, graph = read_manifest(report.path).stages
    assert (torch.name, torch.images, torch.box_iou) == ("torch", 0, None)
    assert torch.size_bytes == (folder / "checkpoint.safetensors").stat().st_size
    assert (graph.name, graph.against, graph.images) == ("onnx", "torch", 8)
    (foreground,) = [row for row in report.parity.rows if row.output == "foreground"]
    assert graph.max_abs_error == pytest.approx(foreground.max_abs_error)
    assert 0 < graph.mean_abs_error < graph.max_abs_error
    assert graph.box_iou is not None
    assert graph.box_iou.mean == pytest.approx(report.parity.box_iou)
    assert graph.label_agreement == 100
    assert 0 < graph.size_bytes < report.size_bytes == report.path.stat().st_size
    assert graph.note == "on synthetic images"


def test_both_graphs_are_compared_where_onnxsim_made_another(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "run_onnxsim", nudged)
    report = export(folder, tmp_path / "m.onnx")
    torch, plain, simplified = report.manifest.stages
    assert [one.name for one in (torch, plain, simplified)] == ["torch", "onnx", "simplified"]
    assert (plain.against, simplified.against) == ("torch", "onnx")
    assert plain.max_abs_error > 0
    assert simplified.max_abs_error > 0
    assert simplified.note == "on synthetic images; onnxsim: 68 nodes -> 60, same outputs"
    assert plain.note == "on synthetic images"


def test_onnxsim_that_failed_is_no_stage(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Simplification(False, 68, 68, "onnxsim was ended by signal 11")
    monkeypatch.setattr(export_module, "run_onnxsim", lambda model, _frames: (model, failed))
    stages = export(folder, tmp_path / "m.onnx").manifest.stages
    assert [stage.name for stage in stages] == ["torch", "onnx"]
    assert stages[1].note.endswith("kept the graph as it was: onnxsim was ended by signal 11")


def test_real_images_need_no_note_and_no_path_leaves_the_machine(
    folder: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos of mine"
    photos.mkdir()
    for number, frame in enumerate(synthetic_samples(side=64, count=3).frames):
        Image.fromarray(frame).save(photos / f"{number}.png")
    options = {"images": photos, "simplify": False, "maps": "selected", "k": 2}
    report = export(folder, tmp_path / "m.onnx", **options)
    assert report.manifest.stages[1].images == 3
    assert report.manifest.stages[1].note == ""
    assert b"photos of mine" not in report.path.read_bytes()


def test_the_engine_and_the_json_carry_them_on(folder: Path, tmp_path: Path) -> None:
    report = export(folder, tmp_path / "m.onnx", simplify=False)
    engine = build_engine(report.path, tmp_path / "m.engine")
    assert engine.manifest.stages == report.manifest.stages
    names = [stage["name"] for stage in json.loads(json.dumps(report.to_dict()))["stages"]]
    assert names == ["torch", "onnx"]
