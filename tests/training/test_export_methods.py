"""Baselines as graphs of the contract: parity, forms, and engines that run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

import bas_edge
from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge.errors import InputError
from bas_edge.metrics.label_free import CAM_FACTOR, network_cut
from bas_edge_training.export_form import choose_form
from bas_edge_training.export_report import ExportReport
from bas_edge_training.exporting import export
from bas_edge_training.graph import contract_graph, select_classes
from bas_edge_training.methods import METHOD_NAMES, Activations, find_method
from bas_edge_training.models import (
    BasModel,
    ModelConfig,
    backbone_names,
    build_model,
    find_backbone,
)
from bas_edge_training.parity import run_onnx
from bas_edge_training.samples import synthetic_samples
from bas_edge_training.threshold import DEFAULT_THRESHOLD

Make = Callable[..., BasModel]
MakeCheckpoint = Callable[..., Path]
EXPORTABLE = [name for name in METHOD_NAMES if find_method(name).exportable]
HEADS = ["edge", "paper"]
FRAMES = synthetic_samples(side=64, count=3).frames


def torch_outputs(model: BasModel, name: str) -> tuple[NDArray[np.float32], ...]:
    method = find_method(name)
    with torch.no_grad():
        outputs = method.outputs(model, torch.from_numpy(FRAMES).permute(0, 3, 1, 2))
    return outputs[0].numpy(), outputs[1].numpy()


def exported(folder: Path, tmp_path: Path, name: str, **options: object) -> ExportReport:
    options = {"simplify": False, "overwrite": True, **options}
    return export(folder, tmp_path / "model.onnx", method=name, **options)


def test_these_can_be_exported() -> None:
    assert EXPORTABLE == ["bas", "cam", "gradcam", "layercam", "eigencam", "eigencam@deep"]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", EXPORTABLE)
def test_the_graph_computes_what_pytorch_does(make_model: Make, name: str, head: str) -> None:
    model = make_model(head)
    graph = contract_graph(model, method=find_method(name))
    onnx.checker.check_model(graph, full_check=True)
    logits, maps = torch_outputs(model, name)
    assert (maps.max(axis=(2, 3)) > maps.min(axis=(2, 3))).any()
    got = run_onnx(graph, FRAMES)
    scale = np.abs(maps).max()
    np.testing.assert_allclose(got["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(
        got[find_method(name).output_names[1]] / scale, maps / scale, atol=1e-5
    )


@pytest.mark.parametrize("architecture", backbone_names())
def test_the_graph_computes_what_pytorch_does_on_every_backbone(architecture: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        architecture=architecture,
        width=0.125,
        num_classes=5,
        input_size=64,
        conventions=find_backbone(architecture).conventions,
    )
    model = build_model(config).eval()
    for name in ("layercam", "eigencam", "eigencam@deep"):
        logits, maps = torch_outputs(model, name)
        got = run_onnx(contract_graph(model, method=find_method(name)), FRAMES)
        scale = np.abs(maps).max()
        assert np.ptp(maps) > 0.01 * scale > 0
        np.testing.assert_allclose(got["logits"], logits, atol=1e-5)
        np.testing.assert_allclose(
            got[find_method(name).output_names[1]] / scale, maps / scale, atol=1e-5
        )


@pytest.mark.parametrize("name", ["cam", "gradcam", "layercam"])
def test_class_maps_behind_a_relu_are_exported_too(
    make_model: Make, make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str
) -> None:
    """As in the first release of BAS; where gradients depend on the image, for all classes."""
    model = make_model("paper")
    model.config = msgspec.structs.replace(model.config, rectified=True)
    report = exported(make_checkpoint(model), tmp_path, name)
    manifest = report.manifest
    form = ("selected", 1, 1) if name == "cam" else ("all", 6, 1)
    assert (manifest.maps, manifest.k, manifest.top_k) == form
    assert report.parity.images == 8
    with pytest.raises(InputError, match="behind a ReLU cannot leave classes out"):
        choose_form(find_method(name), 6, "selected", 2, None, selectable=False)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ["cam", "gradcam", "layercam"])
def test_selected_maps_are_those_of_the_best_classes(
    make_model: Make, name: str, head: str
) -> None:
    """With CAM's weights shared by the classifier, which must keep them."""
    model = make_model(head)
    logits, maps = torch_outputs(model, name)
    got = run_onnx(select_classes(contract_graph(model, method=find_method(name)), 2), FRAMES)
    np.testing.assert_allclose(got["logits"], logits, atol=1e-5)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :2]
    np.testing.assert_array_equal(got["classes"], best)
    expected = np.take_along_axis(maps, best[:, :, None, None], axis=1)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got["maps"] / scale, expected / scale, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["cam", "eigencam"])
def test_an_engine_of_it_finds_the_box_of_its_map(
    make_model: Make, make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str, precision: str
) -> None:
    model = make_model("edge")
    own = ThresholdPolicy(rule="fixed", value=0.11, chosen_by="BAS's own, not for these maps")
    report = exported(make_checkpoint(model, threshold=own), tmp_path, name)
    assert report.manifest.threshold == DEFAULT_THRESHOLD  # no real images to measure one on
    assert read_manifest(report.path).method == name
    assert ("method", name) in report.rows()
    engine = bas_edge.build_engine(report.path, tmp_path / "model.engine", precision=precision)
    assert engine.manifest.method == name
    seen = Activations(model, torch.from_numpy(FRAMES).permute(0, 3, 1, 2))
    with torch.no_grad():
        expected = find_method(name).foreground(seen, top_k=1)
    with bas_edge.Localizer(engine.path) as localizer:
        found = localizer.run_batch(list(FRAMES))
    for one, map_ in zip(found, expected, strict=True):
        assert one.map.dtype == np.float32
        tolerance = (1e-4 if precision == "fp32" else 2e-2) * np.abs(map_).max()
        np.testing.assert_allclose(one.map, map_, atol=tolerance)
        assert one.box != (0, 0, 64, 64)  # maps of any range are cut


def test_the_threshold_is_measured_on_the_maps_of_the_method(
    make_model: Make,
    make_checkpoint: MakeCheckpoint,
    image_files: Callable[..., list[Path]],
    tmp_path: Path,
) -> None:
    model = make_model("edge")
    frames = synthetic_samples(side=64, count=20).frames
    folder = image_files(frames)[0].parent
    own = ThresholdPolicy(rule="fixed", value=0.11, chosen_by="a test")
    run = make_checkpoint(model, threshold=own, source=str(folder))
    policies = {}
    for name in ("cam", "eigencam@deep"):
        policies[name] = exported(run, tmp_path, name).manifest.threshold
        seen = Activations(model, torch.from_numpy(frames).permute(0, 3, 1, 2))
        with torch.no_grad():
            maps = find_method(name).foreground(seen, top_k=1)
        expected = network_cut(maps, CAM_FACTOR)
        assert policies[name].value == pytest.approx(expected, abs=1e-3)
        assert "1.5 × the mean of 20 unboxed maps" in policies[name].chosen_by


def test_what_needs_gradients_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Grad-CAM at F cannot be exported") as refused:
        export(tmp_path / "nothing", tmp_path / "model.onnx", method="gradcam@deep")
    assert refused.value.hint is not None
    assert refused.value.hint.endswith("--method gradcam")
    with pytest.raises(InputError, match="Score-CAM cannot be exported") as refused:
        export(tmp_path / "nothing", tmp_path / "model.onnx", method="scorecam")
    assert refused.value.hint == "See it beside others: bas-edge compare."


def test_forms_of_baselines() -> None:
    cam, eigen = find_method("cam"), find_method("eigencam")
    choice = choose_form(cam, 10, "auto", None, None)
    assert (choice.form, choice.k, choice.top_k) == ("selected", 1, 1)
    choice = choose_form(cam, 10, "all", None, None)
    assert (choice.form, choice.k, choice.top_k) == ("all", 10, 1)
    choice = choose_form(cam, 10, "auto", None, 10)  # never distilled, as BAS's would be
    assert (choice.form, choice.k, choice.top_k) == ("all", 10, 10)
    assert choose_form(cam, 1, "auto", None, None).form == "all"
    choice = choose_form(eigen, 10, "auto", None, None)
    assert (choice.form, choice.k, choice.top_k) == ("mean", 1, 1)
    with pytest.raises(InputError, match="distilled from BAS's generator; CAM has none"):
        choose_form(cam, 10, "mean", None, None)
    with pytest.raises(InputError, match='one map for all classes, but maps is "all"'):
        choose_form(eigen, 10, "all", None, None)
    with pytest.raises(InputError, match="one map for all classes, but k is None and top_k is 5"):
        choose_form(eigen, 10, "auto", None, 5)
