"""From a segmenter's checkpoint to an engine that computes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bas_edge
from bas_edge.cli import main
from bas_edge.errors import EngineError, InputError
from bas_edge.ops import upsample_maps
from bas_edge_training.models import BasModel
from bas_edge_training.segmentation import export_segmenter as exporting
from bas_edge_training.segmentation.segmenter import SegmenterModel


@pytest.fixture
def run_folder(make_model: Callable[..., BasModel], make_checkpoint: Callable[..., Path]) -> Path:
    torch.manual_seed(3)
    return make_checkpoint(lively_segmenter(make_model), task="segmentation")


def lively_segmenter(make_model: Callable[..., BasModel]) -> Any:
    model = SegmenterModel(make_model("edge", classes=3, centred=True))
    torch.nn.init.normal_(model.head.classifier.weight, std=0.3)
    return model.eval()


def test_an_engine_computes_what_the_checkpoint_does(run_folder: Path, tmp_path: Path) -> None:
    report = exporting.export_segmenter(run_folder, tmp_path / "m.onnx", simplify=False)
    assert report.max_abs_error <= report.tolerance
    assert report.manifest.task == "segmentation"
    bas_edge.build_engine(tmp_path / "m.onnx", tmp_path / "m.engine")
    model = exporting.load_segmenter(run_folder).model
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    frame[16:48, 16:48] = (250, 20, 20)
    with torch.no_grad():
        scores = model(torch.from_numpy(frame).permute(2, 0, 1)[None])[0].numpy()
    expected = upsample_maps(scores, (64, 64)).argmax(axis=0)
    assert len(np.unique(expected)) > 1
    with bas_edge.Segmenter(tmp_path / "m.engine") as segmenter:
        found = segmenter.run(frame)
    assert (found.mask == expected).mean() > 0.999  # ties of scores 1e-5 apart
    assert [one.class_name for one in found.objects]


def test_the_graph_is_held_to_pytorch(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = exporting.run_in_batches

    def wrong(graph: Any, frames: Any) -> dict[str, Any]:
        return {name: value + 0.01 for name, value in run(graph, frames).items()}

    monkeypatch.setattr(exporting, "run_in_batches", wrong)
    with pytest.raises(EngineError, match=r"differs from PyTorch: scores by 0\.01"):
        exporting.export_segmenter(run_folder, tmp_path / "m.onnx", simplify=False)
    assert not (tmp_path / "m.onnx").exists()


def test_export_on_the_command_line_sees_what_a_checkpoint_is(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "m.onnx")
    assert main(["export", str(run_folder), "-o", out, "--no-simplify"]) == 0
    assert "bas-edge build-engine" in capsys.readouterr().out
    assert main(["export", str(run_folder), "-o", out, "--no-simplify"]) == 2
    assert "already exists" in capsys.readouterr().err
    assert main(["export", str(run_folder), "-o", out, "--top-k", "2"]) == 2
    assert "--top-k is about class maps" in capsys.readouterr().err


def test_other_checkpoints_and_files_are_refused(
    make_model: Callable[..., BasModel], make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_checkpoint(make_model("edge"))
    with pytest.raises(InputError, match="is the checkpoint of a BAS model"):
        exporting.export_segmenter(folder, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"does not end in \.onnx"):
        exporting.export_segmenter(folder, tmp_path / "m.engine")


@pytest.mark.parametrize("side", [80, 112, 176, 208])
def test_odd_cells_are_enlarged_as_pytorch_does(
    make_model: Callable[..., BasModel], side: int
) -> None:
    """At map stride 16 the trunk has an odd number of cells here, and the tail half, rounded up."""
    torch.manual_seed(3)
    model = SegmenterModel(make_model("edge", classes=2, map_stride=16, side=side)).eval()
    torch.nn.init.normal_(model.head.classifier.weight, std=0.3)
    frames = np.random.default_rng(1).integers(0, 256, (2, side, side, 3), np.uint8)
    graph = exporting.segmenter_graph(model)
    assert exporting.run_in_batches(graph, frames)["scores"].shape[2:] == (side // 16, side // 16)
    exporting._compare(graph, model, frames)
