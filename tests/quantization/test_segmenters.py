"""Engines for segmentation in fp16 and int8, held to their masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import bas_edge
from bas_edge.engine.bundle import Engine, open_engine
from bas_edge.engine.manifest import Precision
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.report import PrecisionReport
from bas_edge.quantization.report_file import read_report
from bas_edge.segmentation.evaluate import evaluate_segmentation


@pytest.fixture(scope="module")
def masked(segmentation_graph: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder: 105 images to calibrate on, 30 to measure on."""
    folder = tmp_path_factory.mktemp("masked") / "set"
    written: Path = segmentation_graph.write_masked_pictures(folder, train=105, val=30)
    return written


@pytest.fixture
def build(segmentation_graph: ModuleType, masked: Path, tmp_path: Path) -> Callable[..., Engine]:
    """`build(planted="", precision="int8", **job)`, held to the masks of `val` unless told so."""

    def make(
        planted: str = "",
        precision: Precision = "int8",
        backend: str = "onnxruntime",
        **options: Any,
    ) -> Engine:
        model = segmentation_graph.layered_segmenter(tmp_path / "seg.onnx", planted=planted)
        method = "min-max" if precision == "int8" else "auto"
        job = PrecisionJob(
            **{"calibration": masked, "evaluation": masked, "method": method, **options}
        )
        return bas_edge.build_engine(
            model,
            tmp_path / "seg.engine",
            backend=backend,
            precision=precision,
            job=job,
            overwrite=True,
        )

    return make


def report_of(engine: Engine) -> PrecisionReport:
    return read_report(open_engine(engine.path))


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_the_bound_is_what_evaluate_says_of_the_engine(
    build: Callable[..., Engine], masked: Path, tmp_path: Path, precision: Precision
) -> None:
    engine = build(precision=precision)
    report = report_of(engine)
    (check,) = report.checks
    assert (report.task, check.metric, report.images) == ("segmentation", "mIoU", 30)
    before = evaluate_segmentation(tmp_path / "seg.onnx", masked)
    after = evaluate_segmentation(engine.path, masked)
    assert 0.5 < before.accuracy.miou < 1
    if precision == "int8":  # fp16 is measured by its twin
        assert check.value == pytest.approx(100 * after.accuracy.miou, abs=1e-9)
    assert check.reference == pytest.approx(100 * before.accuracy.miou, abs=1e-9)
    assert check.loss == pytest.approx(check.reference - check.value)
    assert report.verdict == "accepted"
    (accuracy,) = engine.manifest.accuracy
    assert accuracy.metrics == {"mIoU": pytest.approx(check.value, abs=1e-4)}
    assert (accuracy.images, accuracy.protocol) == (30, "voc")
    assert engine.manifest.bound is not None
    assert engine.manifest.bound.description == "at most 0.5 points of mIoU on 30 images with masks"
