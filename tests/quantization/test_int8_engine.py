"""`build_engine(precision="int8")` from pictures to answers, with ONNX Runtime."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from colour_network import colour_manifest, picture

import bas_edge
from bas_edge.engine.bundle import Engine, open_engine
from bas_edge.errors import AccuracyError
from bas_edge.quantization import int8
from bas_edge.quantization.box_yardstick import BoxYardstick
from bas_edge.quantization.frame_source import spread
from bas_edge.quantization.frames import calibration_frames
from bas_edge.quantization.report import BoundCheck, PrecisionReport
from bas_edge.quantization.report_file import decode_report, read_report
from bas_edge.quantization.sensitivity import layer_errors


def report_of(engine: Engine) -> PrecisionReport:
    return read_report(open_engine(engine.path))


def operators(engine: Engine) -> list[str]:
    return [node.op_type for node in onnx.load(engine.model_path).graph.node]


def test_an_int8_engine_answers_like_float32(build: Callable[..., Engine], tmp_path: Path) -> None:
    engine = build()
    plain = bas_edge.build_engine(tmp_path / "net.onnx", tmp_path / "plain.engine")
    frame, _ = picture(np.random.default_rng(9), 1)
    with bas_edge.Localizer(plain.path) as before, bas_edge.Localizer(engine.path) as after:
        expected, got = before.run(frame), after.run(frame)
    assert got.label == expected.label == 1
    np.testing.assert_allclose(got.box, expected.box, atol=3)  # of 64 × 48 pixels
    assert operators(engine).count("QuantizeLinear") >= 3


def test_the_manifest_and_the_report_say_how_it_was_made(build: Callable[..., Engine]) -> None:
    engine = build()
    made = engine.manifest.quantization
    assert made is not None
    assert (made.flavour, made.method, made.calibration_images) == ("onnxruntime", "min-max", 120)
    assert engine.manifest.bound is not None
    assert engine.manifest.bound.accepted
    assert "45 images with boxes" in engine.manifest.bound.description
    report = report_of(engine)
    assert (report.verdict, report.precision, report.images) == ("accepted", "int8", 45)
    assert [check.metric for check in report.checks] == [
        "MaxBoxAccV2",
        "Top-1 Loc",
        "objects found at min_score",
        "false positives on background",
    ]
    assert [stage.name for stage in report.stages] == ["fp32", "int8"]
    assert {layer.node for layer in report.layers} == {"stem", "depthwise", "dense"}
    assert sum(layer.error for layer in report.layers) == pytest.approx(1)
    assert (engine.path / "report.html").is_file()
    accuracy = engine.manifest.accuracy
    assert [one.images for one in accuracy] == [45]
    assert accuracy[0].metrics["MaxBoxAccV2"] == pytest.approx(report.checks[0].value, abs=1e-3)


def test_first_layer_reads_the_pixels_themselves(build: Callable[..., Engine]) -> None:
    graph = onnx.load(build().model_path).graph
    first = next(node for node in graph.node if node.name == "stem")
    producers = {name: node for node in graph.node for name in node.output}
    chain = []
    tensor = first.input[0]
    while tensor in producers:
        chain.append(producers[tensor].op_type)
        tensor = producers[tensor].input[0]
    assert (chain, tensor) == (["DequantizeLinear", "Transpose"], "frames")


def test_a_large_channel_is_equalized_and_named(build: Callable[..., Engine]) -> None:
    report = report_of(build("equalizable"))
    assert report.verdict == "accepted"
    assert report.calibration is not None
    (one,) = report.calibration.equalized
    assert (one.producer, one.consumers) == ("depthwise", ("dense",))
    assert one.spread_before > 500
    assert one.spread_after < 20


def test_what_cannot_be_equalized_returns_to_float_and_is_named(
    build: Callable[..., Engine],
) -> None:
    engine = build("fixed")
    report = report_of(engine)
    assert report.verdict == "accepted after search"
    assert [kept.node for kept in report.kept] == ["dense"]
    assert not report.methods[0].held
    assert all(check.held for check in report.checks)
    assert engine.manifest.quantization is not None
    assert engine.manifest.quantization.in_float == ("dense",)
    dense = next(n for n in onnx.load(engine.model_path).graph.node if n.name == "dense")
    assert dense.input[1] == "dense.weight"


def test_a_refused_engine_is_not_written_but_its_report_is(
    build: Callable[..., Engine], tmp_path: Path
) -> None:
    with pytest.raises(AccuracyError, match="MaxBoxAccV2 loses") as e:
        build("fixed", search_budget_s=0)
    assert e.value.exit_code == 8
    assert "--force" in str(e.value.hint)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "net.onnx", "q.refused"]
    assert sorted(p.name for p in (tmp_path / "q.refused").iterdir()) == [
        "report.html",
        "report.json",
    ]
    written = decode_report((tmp_path / "q.refused" / "report.json").read_bytes(), source="it")
    assert (written.verdict, written.forced) == ("refused", False)


def test_force_writes_it_and_marks_it(
    build: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    bas_edge.Localizer(build(name="good").path).close()
    assert not caplog.records
    engine = build("fixed", search_budget_s=0, force=True)
    report = report_of(engine)
    assert (report.verdict, report.forced) == ("refused", True)
    assert engine.manifest.bound is not None
    assert not engine.manifest.bound.accepted
    bas_edge.Localizer(engine.path).close()
    (warning,) = [one.getMessage() for one in caplog.records]
    assert "refused by its bound and written with --force: at most 0.5 points" in warning


def test_a_forced_fp16_engine_is_marked_too(
    build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = BoundCheck(metric="MaxBoxAccV2", reference=90.0, value=88.0, loss=2.0, limit=0.5)
    monkeypatch.setattr(BoxYardstick, "checks", lambda *_: (lost,))
    with pytest.raises(AccuracyError, match=r"loses 2\.00") as e:
        build(precision="fp16")
    assert "--precision fp32" in str(e.value.hint)
    assert "--search-budget" not in str(e.value.hint)
    engine = build(precision="fp16", force=True)
    report = report_of(engine)
    assert (report.verdict, report.forced) == ("refused", True)
    verdict = open_engine(engine.path).manifest.bound
    assert verdict is not None
    assert not verdict.accepted
    assert "at most 0.5 points" in verdict.description


def test_auto_keeps_a_method_that_holds(build: Callable[..., Engine]) -> None:
    report = report_of(build(method="auto"))
    assert {one.method for one in report.methods} == {
        "min-max",
        "percentile-99.99",
        "percentile-99.9",
        "mse",
        "entropy",
    }
    (chosen,) = [one for one in report.methods if one.chosen]
    assert chosen.held
    assert report.calibration is not None
    assert report.calibration.method == chosen.method


def test_a_second_build_reuses_the_statistics_and_gives_the_same_graph(
    build: Callable[..., Engine], own_cache: Path
) -> None:
    first, second = build(name="a"), build(name="b")
    assert first.model_path.read_bytes() == second.model_path.read_bytes()
    calibrations = [report_of(engine).calibration for engine in (first, second)]
    sentences = [one.cache for one in calibrations if one is not None]
    assert sentences[0].startswith("Not reused")
    assert sentences[1].startswith("Reused")
    shutil.rmtree(own_cache)


def test_layers_are_told_apart_on_images_from_all_over_the_folder(
    build: Callable[..., Engine], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def errors(candidates: Any, method: str, frames: np.ndarray, *given: Any, **named: Any) -> Any:
        seen.append(frames)
        return layer_errors(candidates, method, frames, *given, **named)

    monkeypatch.setattr(int8, "layer_errors", errors)
    build()
    with calibration_frames(pictures / "calib", colour_manifest().input) as frames:
        expected = frames.part(spread(120, 32)).read(0, 32)
    np.testing.assert_array_equal(seen[0], expected)
