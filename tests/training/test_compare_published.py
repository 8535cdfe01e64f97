"""`compare()` on published sets: the figures of `evaluate`, from boxes and from masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from published_sets import SETS

from bas_edge import evaluate
from bas_edge_training.comparison import compare
from bas_edge_training.exporting import export
from bas_edge_training.models import BasModel, ModelConfig, build_model


@pytest.mark.parametrize("name", ["cub", "open_images", "wsoleval_boxes"])
def test_an_engine_s_figures_are_those_of_evaluate(
    name: str, tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    known = SETS[name]
    root = known.make(tmp_path / name)
    engine = tiny_onnx(tmp_path / "tiny.onnx", classes=known.classes)
    result = compare(root, methods=[str(engine)], threads=1)
    alone = evaluate(engine, root, threads=1)
    (found,) = result.methods
    assert (found.classification, found.localization) == (alone.classification, alone.localization)
    assert found.pixels == alone.pixels
    assert ((found.localization is not None), (found.pixels is not None)) == (
        known.boxes,
        known.masks,
    )
    lines = result.table()
    assert not any(line.startswith("There are no boxes") for line in lines)
    figures = [line.split() for line in lines if found.pixels and line.startswith("tiny.onnx")]
    if found.pixels is not None:
        px_ap, stored = f"{found.pixels.px_ap:.1f}", f"{found.pixels.stored_iou:.1f}"
        assert [row[1::3] for row in figures[known.boxes :]] == [[px_ap, stored]]


def tiny_model() -> BasModel:
    return build_model(ModelConfig(width=0.125, num_classes=3, input_size=64)).eval()


def test_a_method_s_figures_are_those_of_its_engine(
    tmp_path: Path, make_checkpoint: Callable[..., Path]
) -> None:
    known = SETS["cub"]
    root = known.make(tmp_path / "cub")
    run = make_checkpoint(tiny_model(), classes=known.classes)
    export(run, tmp_path / "cam.onnx", method="cam", simplify=False)
    result = compare(
        root, run, methods=["cam", str(tmp_path / "cam.onnx")], of_class="best", threads=1,
        device="cpu",
    )  # fmt: skip
    method, engine = result.methods
    assert method.pixels is not None
    assert engine.pixels is not None
    assert method.pixels.px_ap == pytest.approx(engine.pixels.px_ap, abs=0.01)
    assert method.pixels.peak_iou == pytest.approx(engine.pixels.peak_iou, abs=0.01)
    assert method.pixels.peak_threshold == pytest.approx(engine.pixels.peak_threshold, abs=0.002)
    assert method.localization is not None
    assert engine.localization is not None
    assert method.localization.max_box_acc.accuracy == engine.localization.max_box_acc.accuracy
