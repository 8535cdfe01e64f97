"""`export()`: a checkpoint to one ONNX file, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import bas_edge_training.exporting as export_module
from bas_edge.engine.build import build_engine
from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge.errors import EngineError, InputError
from bas_edge_training import distill
from bas_edge_training.export_report import ExportReport
from bas_edge_training.exporting import export
from bas_edge_training.models import BasModel
from bas_edge_training.parity import run_onnx
from bas_edge_training.samples import synthetic_samples
from bas_edge_training.simplify import Simplification
from bas_edge_training.threshold import DEFAULT_THRESHOLD

Make = Callable[..., BasModel]
MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def textures(tmp_path: Path) -> Path:
    """Twenty images that stand in for a data set."""
    folder = tmp_path / "textures"
    folder.mkdir()
    for number, frame in enumerate(synthetic_samples(side=64, count=20).frames):
        Image.fromarray(frame).save(folder / f"{number:02}.png")
    return folder


def agreeing(model: BasModel) -> BasModel:
    conv = model.generator.conv
    with torch.no_grad():
        conv.weight.copy_(4 * conv.weight[:1] + 0.05 * conv.weight)
        conv.bias.copy_(conv.bias[:1] + 0.05 * conv.bias)
    return model


def exported(folder: Path, tmp_path: Path, **options: object) -> ExportReport:
    options = {"simplify": False, "overwrite": True, **options}
    return export(folder, tmp_path / "model.onnx", **options)


def test_training_s_threshold_is_kept_unless_images_or_other_maps_are_asked_for(
    make_model: Make, make_checkpoint: MakeCheckpoint, textures: Path, tmp_path: Path
) -> None:
    """And images without an object, beside the classes, have no say in a new one."""
    own = ThresholdPolicy(rule="fixed", value=0.3, chosen_by="a test")
    folder = make_checkpoint(make_model("edge"), threshold=own, source=str(textures))
    assert exported(folder, tmp_path, maps="all").manifest.threshold == own
    other_maps = exported(folder, tmp_path, maps="all", top_k=2).manifest.threshold
    other_images = exported(folder, tmp_path, maps="all", images=textures).manifest.threshold
    assert "20 unboxed maps" in other_maps.chosen_by
    assert "20 unboxed maps" in other_images.chosen_by
    (textures / "background").mkdir()
    Image.new("RGB", (64, 64)).save(textures / "background" / "nothing.png")
    again = exported(folder, tmp_path, maps="all", images=textures).manifest.threshold
    assert again == other_images
    only = tmp_path / "only"
    (textures / "background").rename(only.with_name("background"))
    only.mkdir()
    only.with_name("background").rename(only / "background")
    with pytest.raises(InputError, match="holds no image outside its folder background/"):
        exported(folder, tmp_path, maps="all", images=only)


def test_file_carries_its_manifest(
    make_model: Make, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    threshold = ThresholdPolicy(rule="fixed", value=0.3, chosen_by="a test")
    folder = make_checkpoint(make_model("edge"), threshold=threshold, min_score=0.25)
    report = exported(folder, tmp_path)
    manifest = read_manifest(tmp_path / "model.onnx")
    assert manifest == report.manifest
    assert manifest.classes == tuple(f"class {i}" for i in range(6))
    assert (manifest.input.height, manifest.input.width, manifest.input.resize) == (
        64, 64, "stretch",
    )  # fmt: skip
    assert (manifest.maps, manifest.k, manifest.top_k) == ("all", 6, 6)
    assert manifest.threshold == threshold
    assert manifest.min_score == 0.25
    training = manifest.training
    assert (training.head, training.epochs) == ("edge", 4)
    assert (training.width, training.map_stride, training.input_size) == (0.125, 8, 64)
    assert training.recipe_sha256 == "5" * 64
    assert len(training.checkpoint_sha256) == 64
    assert report.size_bytes == (tmp_path / "model.onnx").stat().st_size


def test_a_recipes_cut_is_what_ships_unless_other_maps_are_asked_for(
    make_model: Make, make_checkpoint: MakeCheckpoint, textures: Path, tmp_path: Path
) -> None:
    """Images are for the checks then: nothing of the cut was measured on any."""
    own = ThresholdPolicy(rule="fixed", value=0.45, chosen_by="recipe ilsvrc_vgg16_published")
    content = {"localization": {"top_k": 1, "threshold": 0.45}}
    folder = make_checkpoint(
        make_model("edge"), threshold=own, source=str(textures), recipe_content=content
    )
    manifest = exported(folder, tmp_path, images=textures).manifest
    assert manifest.threshold == own
    assert (manifest.maps, manifest.k, manifest.top_k) == ("selected", 1, 1)
    other_maps = exported(folder, tmp_path, top_k=2).manifest
    assert "20 unboxed maps" in other_maps.threshold.chosen_by
    content = {"localization": {"top_k": 200, "threshold": 0.0}}  # more than there are classes
    folder = make_checkpoint(make_model("edge"), threshold=own, recipe_content=content)
    assert exported(folder, tmp_path).manifest.top_k == 6


def test_default_threshold_needs_no_boxes(
    make_model: Make, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    report = exported(make_checkpoint(make_model("edge")), tmp_path)
    assert report.manifest.threshold == DEFAULT_THRESHOLD


def test_report_says_what_was_compared(
    make_model: Make, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    said: list[str] = []
    report = exported(make_checkpoint(make_model("paper")), tmp_path, reporter=said.append)
    rows = dict(report.rows())
    assert rows["compared on"] == "8 of 8 synthetic images"
    assert rows["maps"] == "all, 6 computed, 6 averaged"
    assert "at most" in rows["PyTorch - ONNX, logits"]
    assert rows["onnxsim"] == "not run"
    assert report.next_command.startswith("bas-edge build-engine ")
    assert report.next_command.endswith("model.engine")
    assert json.loads(json.dumps(report.to_dict()))["maps"] == "all"
    assert said[-1] == "comparing with PyTorch on 8 frames"


@pytest.mark.parametrize(
    ("options", "form"),
    [
        ({}, ("all", 6, 6)),
        ({"top_k": 2}, ("selected", 2, 2)),
        ({"k": 3, "top_k": 2}, ("selected", 3, 2)),
        ({"k": 3}, ("selected", 3, 3)),
        ({"k": 6, "top_k": 2}, ("all", 6, 2)),
        ({"maps": "all", "top_k": 2}, ("all", 6, 2)),
        ({"maps": "selected", "k": 1}, ("selected", 1, 1)),
    ],
)
def test_form_follows_the_options(
    make_model: Make,
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
    options: dict[str, object],
    form: tuple[str, int, int],
) -> None:
    manifest = exported(make_checkpoint(make_model("edge")), tmp_path, **options).manifest
    assert (manifest.maps, manifest.k, manifest.top_k) == form
    engine = build_engine(tmp_path / "model.onnx", tmp_path / "model.engine")
    assert engine.manifest.maps == form[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 7}, "k is 7, but the model has 6 classes"),
        ({"top_k": 0}, "top_k is 0"),
        ({"k": 2, "top_k": 3}, "top_k is 3, but only k = 2"),
        ({"maps": "all", "k": 2}, "k is 2"),
        ({"maps": "mean", "top_k": 2}, "averages all 6 classes"),
        ({"maps": "selected"}, "fewer maps than the 6 classes"),
        ({"maps": "mean"}, "at least 16 real images; there were 0"),
        ({"images": "nowhere"}, "No such file or folder"),
    ],
)
def test_refused_options_leave_nothing(
    make_model: Make,
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
    options: dict[str, object],
    message: str,
) -> None:
    folder = make_checkpoint(make_model("edge"))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=message):
        export(folder, tmp_path / "out" / "model.onnx", simplify=False, **options)
    assert not list((tmp_path / "out").iterdir())


def test_a_file_is_replaced_only_when_asked(
    make_model: Make, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    folder, output = make_checkpoint(make_model("edge")), tmp_path / "model.onnx"
    output.write_bytes(b"somebody's")
    with pytest.raises(InputError, match=r"model\.onnx already exists") as caught:
        export(folder, output, simplify=False)
    assert "--overwrite" in str(caught.value.hint)
    assert output.read_bytes() == b"somebody's"
    report = export(folder, output, simplify=False, overwrite=True)
    assert output.stat().st_size == report.size_bytes


def test_output_must_be_an_onnx_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not end in \.onnx"):
        export(tmp_path, tmp_path / "birds.engine")


def test_averaging_all_classes_distils_the_mean(
    make_model: Make, make_checkpoint: MakeCheckpoint, textures: Path, tmp_path: Path
) -> None:
    folder = make_checkpoint(agreeing(make_model("edge", classes=12)), source=str(textures))
    report = exported(folder, tmp_path)
    assert (report.manifest.maps, report.manifest.k, report.manifest.top_k) == ("mean", 1, 1)
    assert report.distillation is not None
    assert report.distillation.accepted
    assert "held-out images" in report.reason
    assert report.samples == f"7 of 20 images of {textures}"
    outputs = run_onnx(onnx.load(report.path), np.zeros((2, 64, 64, 3), np.uint8))
    assert outputs["foreground"].shape == (2, 1, 8, 8)
    assert build_engine(report.path, tmp_path / "model.engine").manifest.maps == "mean"


def test_a_poor_mean_map_is_not_exported(
    make_model: Make,
    make_checkpoint: MakeCheckpoint,
    textures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_model("edge", classes=8)
    monkeypatch.setattr(distill, "MIN_BOX_IOU", 1.01)  # no map is that good
    folder = make_checkpoint(model)
    with pytest.raises(InputError, match="a distilled mean map was refused"):
        exported(folder, tmp_path, maps="mean", images=textures)
    assert not (tmp_path / "model.onnx").exists()
    report = exported(folder, tmp_path, images=textures)
    assert report.manifest.maps == "all"
    assert report.distillation is not None
    assert "a distilled mean map was refused" in report.reason


def test_unreadable_images_are_counted(
    make_model: Make, make_checkpoint: MakeCheckpoint, textures: Path, tmp_path: Path
) -> None:
    files = sorted(textures.iterdir())[:3]
    files[1].write_bytes(b"not an image")
    report = exported(make_checkpoint(make_model("edge")), tmp_path, images=files)
    assert report.samples == "2 of 2 images of a list of 3 (1 unreadable)"
    with pytest.raises(InputError, match="None of the 1 images"):
        exported(tmp_path / "run", tmp_path, images=files[1:2])


@pytest.mark.parametrize("failure", [EngineError("wrong"), KeyboardInterrupt()])
def test_a_failed_export_keeps_the_old_file(
    make_model: Make,
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    folder = make_checkpoint(make_model("edge"))
    output = tmp_path / "out" / "model.onnx"
    output.parent.mkdir()
    output.write_bytes(b"the old one")
    monkeypatch.setattr(export_module, "check_parity", fail)
    with pytest.raises(type(failure)):
        export(folder, output, simplify=False, overwrite=True)
    assert output.read_bytes() == b"the old one"
    assert [p.name for p in output.parent.iterdir()] == ["model.onnx"]


def test_onnxsim_that_fails_is_reported(
    make_model: Make,
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = Simplification(False, 68, 68, "onnxsim was ended by signal 11")
    monkeypatch.setattr(export_module, "run_onnxsim", lambda model, _frames: (model, failed))
    report = export(make_checkpoint(make_model("edge")), tmp_path / "model.onnx")
    assert dict(report.rows())["onnxsim"].endswith("onnxsim was ended by signal 11")
    assert report.to_dict()["simplified"] is False
    assert (tmp_path / "model.onnx").is_file()


@pytest.mark.shared_data
def test_real_images(
    make_model: Make, make_checkpoint: MakeCheckpoint, shared_data: Path, tmp_path: Path
) -> None:
    images = shared_data / "cub50" / "val.csv"
    report = exported(make_checkpoint(make_model("paper")), tmp_path, images=images)
    assert report.samples == f"8 of 192 images of {images}"
