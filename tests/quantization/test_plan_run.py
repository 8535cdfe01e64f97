"""A plan that a GPU here can run is held to the bound as well: on a pretended machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bas_edge.engine.bundle import Engine, open_engine
from bas_edge.errors import AccuracyError, BackendError, KernelError
from bas_edge.quantization.report import PrecisionReport
from bas_edge.quantization.report_file import read_report
from bas_edge.quantization.yardstick import Bound


@pytest.fixture
def build_plan(
    gpu: Any, build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Engine]:
    """`build` for the pretended TensorRT, whose plan computes what the graph does."""
    monkeypatch.setattr("bas_edge.engine.memory.available_bytes", lambda: 1 << 40)
    gpu.script.outcomes[:] = [lambda model: gpu.plan(model, (1, 1, 8))]

    def make(**options: Any) -> Engine:
        return build(backend="tensorrt", **options)

    return make


def report_of(engine: Engine) -> PrecisionReport:
    return read_report(open_engine(engine.path))


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_it_is_compared_with_its_graph(
    gpu: Any, build_plan: Callable[..., Engine], precision: str
) -> None:
    engine = build_plan(precision=precision)
    report = report_of(engine)
    stage = report.stages[-1]
    assert (stage.name, stage.against, stage.images) == ("plan", precision, 45)
    assert stage.max_abs_error < 0.05  # the fake rounds as ONNX Runtime, not as TensorRT
    assert stage.box_iou is not None
    assert stage.box_iou.mean > 0.9
    assert stage.latency_ms is not None
    assert stage.latency_ms > 0
    assert stage.size_bytes == engine.manifest.plans[0].file.size_bytes
    assert "10.3.0; the time is of resize, network and box" in stage.note
    assert [check.metric for check in report.plan_checks] == [
        check.metric for check in report.checks
    ]
    assert all(check.held for check in report.plan_checks)
    assert engine.manifest.bound is not None
    assert engine.manifest.bound.accepted
    assert sum(gpu.runs) >= 45 + 12  # every image of the bound
    page = (engine.path / "report.html").read_text(encoding="utf-8")
    assert page.count("MaxBoxAccV2, plan on the GPU") >= 1


def test_it_says_the_same_without_boxes(build_plan: Callable[..., Engine], pictures: Path) -> None:
    report = report_of(
        build_plan(evaluation=str(pictures / "val" / "*.png"), bound=Bound(0.5, 0.9))
    )
    graph, plan = report.checks, report.plan_checks
    assert plan[0].metric == "box IoU with float32"
    assert plan[0].value == pytest.approx(graph[0].value, abs=0.05)


def test_what_it_loses_refuses_the_engine(
    gpu: Any, build_plan: Callable[..., Engine], tmp_path: Path
) -> None:
    gpu.poison["logits"] = np.float32(0)
    with pytest.raises(AccuracyError, match=r"The plan on this GPU: .*Top-1 Loc loses") as e:
        build_plan()
    assert not (tmp_path / "q.engine").exists()
    assert str(tmp_path / "q.refused") in str(e.value.hint)
    assert "another version of TensorRT" in str(e.value.hint)
    assert (tmp_path / "q.refused" / "report.html").is_file()


def test_force_writes_it_marked(gpu: Any, build_plan: Callable[..., Engine]) -> None:
    gpu.poison["logits"] = np.float32(0)
    engine = build_plan(force=True)
    report = report_of(engine)
    assert report.forced
    assert report.verdict == "refused"
    assert all(check.held for check in report.checks)
    assert not all(check.held for check in report.plan_checks)
    assert engine.manifest.bound is not None
    assert not engine.manifest.bound.accepted
    assert open_engine(engine.path).manifest.bound == engine.manifest.bound


def test_values_that_are_not_finite_are_an_error(
    gpu: Any, build_plan: Callable[..., Engine], tmp_path: Path
) -> None:
    gpu.poison["logits"] = np.float32("nan")
    with pytest.raises(BackendError, match="NaN or infinite"):
        build_plan(force=True)
    assert not list(tmp_path.glob("q.*"))
    assert not list(tmp_path.glob(".q.*"))


def test_a_plan_that_cannot_be_loaded_is_written_and_said(
    build_plan: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def native() -> None:
        raise KernelError("no kernels here")

    monkeypatch.setattr("bas_edge.open_runner.native", native)
    report = report_of(build_plan())
    assert report.stages[-1].images == 0
    assert "not run while it was built: no kernels here" in report.stages[-1].note
    assert report.plan_checks == ()
    assert any("The plan was not run" in note for note in report.notes)
