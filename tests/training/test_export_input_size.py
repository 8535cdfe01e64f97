"""`export(input_size=…)`: the same weights on larger or smaller frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import bas_edge_training.exporting as export_module
from bas_edge.cli.app import main
from bas_edge.engine.build import build_engine
from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge.errors import InputError
from bas_edge_training.exporting import export
from bas_edge_training.methods import BAS, Method
from bas_edge_training.models import BasModel
from bas_edge_training.parity import run_onnx
from bas_edge_training.samples import synthetic_samples

OWN = ThresholdPolicy(rule="fixed", value=0.3, chosen_by="a test")

Make = Callable[..., BasModel]
MakeCheckpoint = Callable[..., Path]


@pytest.mark.parametrize("map_stride", [8, 16])
@pytest.mark.parametrize("side", [32, 80, 96])
def test_the_graph_has_the_size_that_was_asked_for(
    make_model: Make, make_checkpoint: MakeCheckpoint, tmp_path: Path, side: int, map_stride: int
) -> None:
    model = make_model("edge", map_stride=map_stride)
    model.set_shift(3)
    output = tmp_path / "model.onnx"
    report = export(make_checkpoint(model), output, input_size=side, simplify=False)
    assert (report.manifest.input.height, report.manifest.input.width) == (side, side)
    assert dict(report.rows())["input"] == f"{side} × {side} pixels, trained at 64"
    assert (report.to_dict()["input_size"], report.to_dict()["trained_at"]) == (side, 64)
    frames = synthetic_samples(side=side, count=2).frames
    with torch.no_grad():
        _, maps = model(torch.from_numpy(frames).permute(0, 3, 1, 2))
    assert maps.shape[-1] == side // map_stride
    got = run_onnx(onnx.load(output), frames)
    np.testing.assert_allclose(got["maps"], maps.numpy(), atol=1e-5)
    assert build_engine(output, tmp_path / "model.engine").manifest.input.height == side


def test_the_threshold_is_measured_at_that_size(
    make_model: Make, make_checkpoint: MakeCheckpoint, image_files: Callable[..., list[Path]],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Unless it is that of training: then its own stands. Without images, it has to."""
    image_files(synthetic_samples(side=64, count=20).frames)
    folder = make_checkpoint(
        make_model("edge"), threshold=OWN, min_score=0.25, source=str(tmp_path / "frames")
    )
    said: list[str] = []
    measured: list[tuple[int, ...]] = []

    def measure(_: BasModel, frames: np.ndarray, *, top_k: int, method: Method) -> ThresholdPolicy:
        assert method is BAS
        measured.append(frames.shape)
        return ThresholdPolicy(rule="fixed", value=0.5, chosen_by=f"{top_k} maps")

    monkeypatch.setattr(export_module, "label_free_threshold", measure)

    def exported(side: int | None) -> ThresholdPolicy:
        report = export(
            folder, tmp_path / "m.onnx", maps="all", input_size=side, overwrite=True,
            simplify=False, reporter=said.append,
        )  # fmt: skip
        assert report.manifest.min_score == 0.25
        return report.manifest.threshold

    assert exported(None) == exported(64) == OWN
    assert not [line for line in said if "min_score" in line]
    assert measured == []
    assert exported(96).chosen_by == "6 maps"
    assert measured == [(20, 96, 96, 3)]
    assert [line for line in said if line.startswith("min_score was chosen at 64 pixels")]
    (tmp_path / "frames").rename(tmp_path / "gone")
    assert exported(96) == OWN


@pytest.mark.parametrize("side", [100, 0, -16, 16])
def test_impossible_sizes_are_refused(
    make_model: Make, make_checkpoint: MakeCheckpoint, tmp_path: Path, side: int
) -> None:
    """16 would do, but not with frames moved by 5 pixels."""
    model = make_model("edge")
    model.set_shift(5)
    with pytest.raises(InputError, match=r"The graph cannot have that input: .* got"):
        export(make_checkpoint(model), tmp_path / "m.onnx", input_size=side)
    assert not (tmp_path / "m.onnx").exists()


def test_the_command_takes_it(
    make_model: Make, make_checkpoint: MakeCheckpoint, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder, output = make_checkpoint(make_model("edge")), tmp_path / "model.onnx"
    words = ["export", str(folder), "-o", str(output), "--input-size", "80", "--no-simplify"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_size"] == 80
    assert read_manifest(output).input.width == 80
