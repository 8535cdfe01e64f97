"""Exported models in float16: what they compute, and plans of TensorRT for RTX from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from bas_edge.engine.build import build_engine
from bas_edge.engine.precision import HalfGraph, to_half
from bas_edge_training.exporting import export
from bas_edge_training.models import BasModel
from bas_edge_training.parity import run_onnx
from bas_edge_training.samples import synthetic_samples

# float16 rounds each of some 30 layers by 2^-11 relative; measured on these models 5e-4 of the
# outputs' size, of about 1. The bound is what 30 roundings in the same direction would give.
BOUND = 30 * 2**-11

FORMS = [("edge", {}), ("edge", {"top_k": 2}), ("paper", {}), ("paper", {"top_k": 2})]
IDS = ["edge-all", "edge-selected", "paper-all", "paper-selected"]


@pytest.fixture(params=FORMS, ids=IDS)
def exported(
    request: pytest.FixtureRequest,
    make_model: Callable[..., BasModel],
    make_checkpoint: Callable[..., Path],
    tmp_path: Path,
) -> Path:
    head, options = request.param
    checkpoint = make_checkpoint(make_model(head, centred=head == "edge"))
    path: Path = export(checkpoint, tmp_path / "model.onnx", simplify=False, **options).path
    return path


def test_a_float16_export_agrees(exported: Path) -> None:
    graph: HalfGraph = to_half(exported)
    assert graph.notes == ()
    assert graph.half > graph.kept
    assert len(graph.model) < 0.65 * exported.stat().st_size
    frames = synthetic_samples(side=64, count=4).frames
    single = run_onnx(onnx.load(exported), frames)
    model = onnx.load_from_string(graph.model)
    exact = ReferenceEvaluator(model)  # rounds every float16 result; ONNX Runtime leaves some out
    rounded = dict(zip(exact.output_names, exact.run(None, {"frames": frames}), strict=True))
    scale = np.abs(single["logits"]).max()
    for half in (run_onnx(model, frames), rounded):
        assert np.abs(half["logits"] - single["logits"]).max() < BOUND * scale
        if "classes" in single:
            np.testing.assert_array_equal(half["classes"], single["classes"])
        assert np.abs(half["maps"] - single["maps"]).max() < BOUND


@pytest.mark.rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_export_becomes_a_plan(exported: Path, tmp_path: Path, precision: str) -> None:
    engine = build_engine(
        exported, tmp_path / "e.engine", backend="tensorrt_rtx", precision=precision
    )
    (plan,) = engine.manifest.plans
    assert plan.layers >= len(onnx.load(engine.model_path).graph.node)
    assert plan.file.size_bytes > 100_000


@pytest.mark.rtx
def test_float16_halves_the_plan_of_a_real_model(
    make_model: Callable[..., BasModel], make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """With classes enough that weights outweigh the kernels inside the plan."""
    from bas_edge_training.models import ModelConfig, build_model

    torch.manual_seed(1)
    model = build_model(ModelConfig(num_classes=20, head="edge", input_size=64)).eval()
    path = export(make_checkpoint(model), tmp_path / "model.onnx", simplify=False).path
    sizes = {}
    for precision in ("fp32", "fp16"):
        output = tmp_path / f"{precision}.engine"
        engine = build_engine(path, output, backend="tensorrt_rtx", precision=precision)
        sizes[precision] = engine.manifest.plans[0].file.size_bytes
    assert sizes["fp32"] > 12_000_000
    assert sizes["fp16"] < 0.65 * sizes["fp32"]
