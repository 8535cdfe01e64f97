"""`build_engine(precision="int8")` from pictures to answers, with ONNX Runtime."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from colour_network import picture, write_network, write_pictures
from PIL import Image

import bas_edge
from bas_edge.engine.build import rebuild_plan
from bas_edge.engine.bundle import Engine, open_engine
from bas_edge.engine.manifest import Quantization
from bas_edge.engine.onnx_metadata import read_manifest, with_manifest
from bas_edge.errors import AccuracyError, InputError
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.report import BoundCheck, PrecisionReport
from bas_edge.quantization.report_file import decode_report, read_report
from bas_edge.quantization.yardstick import Bound, Yardstick


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`calib/` with 120 pictures, `val/` with 45 others and 12 without an object."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder / "calib", 120, seed=1)
    write_pictures(folder / "val", 45, seed=2, background=12)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAS_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def build(pictures: Path, tmp_path: Path) -> Callable[..., Engine]:
    """`build(planted="", precision="int8", **job)`, held to boxes unless told otherwise."""

    def make(
        planted: str = "",
        precision: str = "int8",
        name: str = "q",
        backend: str = "onnxruntime",
        **options: Any,
    ) -> Engine:
        network = write_network(tmp_path / "net.onnx", planted=planted)
        defaults = {
            "calibration": pictures / "calib",
            "method": "min-max",
            "evaluation": pictures / "val" / "index.csv",
            "background": pictures / "val" / "background",
        }
        job = PrecisionJob(**{**defaults, **options})
        return bas_edge.build_engine(
            network,
            tmp_path / f"{name}.engine",
            backend=backend,
            precision=precision,
            job=job,
            overwrite=True,
        )

    return make


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
    assert made.accepted
    assert "45 images with boxes" in made.bound
    report = report_of(engine)
    assert (report.verdict, report.precision, report.images) == ("accepted", "int8", 45)
    assert [check.metric for check in report.checks] == [
        "MaxBoxAccV2",
        "Top-1 Loc",
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
    assert engine.manifest.quantization is not None
    assert not engine.manifest.quantization.accepted
    assert engine.manifest.bound is not None
    assert not engine.manifest.bound.accepted
    bas_edge.Localizer(engine.path).close()
    (warning,) = [one.getMessage() for one in caplog.records]
    assert "refused by its bound and written with --force: at most 0.5 points" in warning


def test_a_forced_fp16_engine_is_marked_too(
    build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = BoundCheck(metric="MaxBoxAccV2", reference=90.0, value=88.0, loss=2.0, limit=0.5)
    monkeypatch.setattr(Yardstick, "checks", lambda *_: (lost,))
    with pytest.raises(AccuracyError, match=r"loses 2\.00") as e:
        build(precision="fp16")
    assert "--precision fp32" in str(e.value.hint)
    assert "--search-budget" not in str(e.value.hint)
    engine = build(precision="fp16", force=True)
    report = report_of(engine)
    assert (report.verdict, report.forced) == ("refused", True)
    verdict = open_engine(engine.path).manifest.verdict
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


def test_bare_images_are_held_to_agreement(build: Callable[..., Engine], pictures: Path) -> None:
    report = report_of(
        build(evaluation=str(pictures / "val" / "*.png"), background=None, bound=Bound(0.5, 0.9))
    )
    assert [check.metric for check in report.checks] == [
        "box IoU with float32",
        "same class as float32",
    ]
    assert [check.unit for check in report.checks] == ["IoU", "percent"]
    assert report.checks[0].limit == pytest.approx(0.1)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_agreement_and_false_positives_are_no_accuracy(
    build: Callable[..., Engine], pictures: Path, precision: str
) -> None:
    engine = build(precision=precision)
    assert report_of(engine).checks[2].metric == "false positives on background"
    (accuracy,) = engine.manifest.accuracy
    assert set(accuracy.metrics) == {"MaxBoxAccV2", "Top-1 Loc"}
    bare = build(precision=precision, evaluation=str(pictures / "val" / "*.png"), force=True)
    assert bare.manifest.accuracy == ()


def test_without_images_to_measure_on_a_fifth_is_kept_apart(build: Callable[..., Engine]) -> None:
    report = report_of(build(evaluation=None, background=None, bound=Bound(0.5, 0.9)))
    assert report.images == 24
    assert report.calibration is not None
    assert report.calibration.images == 96
    assert "kept apart" in report.data


def test_images_of_both_kinds_are_refused(build: Callable[..., Engine], pictures: Path) -> None:
    with pytest.raises(InputError, match="120 of 120 evaluation images are also calibration"):
        build(evaluation=pictures / "calib" / "index.csv", force=True)


def test_fp16_is_held_to_the_same_bound(build: Callable[..., Engine]) -> None:
    engine = build(precision="fp16")
    report = report_of(engine)
    assert (report.verdict, report.precision) == ("accepted", "fp16")
    assert report.stages[-1].name == "fp16"
    assert 0 < report.stages[-1].max_abs_error < 0.01
    assert engine.manifest.quantization is None


def test_int8_without_images_is_refused(tmp_path: Path) -> None:
    network = write_network(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="real images") as e:
        bas_edge.build_engine(network, tmp_path / "q.engine", precision="int8")
    assert "--calib" in str(e.value.hint)
    assert not (tmp_path / "q.engine").exists()


def test_a_quantized_graph_is_not_quantized_again(
    build: Callable[..., Engine], pictures: Path, tmp_path: Path
) -> None:
    engine = build()
    job = PrecisionJob(calibration=pictures / "calib")
    with pytest.raises(InputError, match="is a graph in int8"):
        bas_edge.build_engine(
            engine.model_path, tmp_path / "again.engine", precision="fp16", job=job
        )


def test_pictures_of_one_colour_are_refused(build: Callable[..., Engine], tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for n in range(120):
        Image.new("RGB", (40, 30), (n, n, n)).save(folder / f"{n}.png")
    with pytest.raises(InputError, match="one colour"):
        build(calibration=folder)


def test_a_cpu_graph_gets_no_plan_of_tensorrt(build: Callable[..., Engine]) -> None:
    engine = build()
    with pytest.raises(InputError, match="quantized for ONNX Runtime") as e:
        rebuild_plan(engine.path, backend="tensorrt_rtx")
    assert "--backend tensorrt_rtx --precision int8" in str(e.value.hint)
    with pytest.raises(InputError, match="quantized for ONNX Runtime"):
        bas_edge.build_engine(
            engine.model_path,
            engine.path.with_name("p.engine"),
            backend="tensorrt_rtx",
            precision="int8",
        )


@pytest.mark.rtx
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_plan_of_fewer_bits_is_built_and_reported(
    build: Callable[..., Engine], precision: str
) -> None:
    engine = build(precision=precision, backend="tensorrt_rtx")
    (plan,) = engine.manifest.plans
    report = report_of(engine)
    assert (plan.precision, report.verdict) == (precision, "accepted")
    last = report.stages[-1]
    assert (last.name, last.against, last.size_bytes) == ("plan", precision, plan.file.size_bytes)
    assert "not run" in last.note
    if precision == "int8":
        assert engine.manifest.quantization is not None
        assert engine.manifest.quantization.flavour == "tensorrt"
        assert "speed" in " ".join(report.notes)


def test_both_notes_and_both_progress_callbacks_are_called(
    build: Callable[..., Engine], pictures: Path, tmp_path: Path
) -> None:
    mine: list[str] = []
    phases: list[str] = []
    outer_notes: list[str] = []
    outer_phases: list[str] = []
    job = PrecisionJob(
        calibration=pictures / "calib",
        method="min-max",
        evaluation=pictures / "val" / "index.csv",
        note=mine.append,
        on_progress=lambda phase, _share: phases.append(phase),
    )
    bas_edge.build_engine(
        write_network(tmp_path / "net.onnx", planted="equalizable"),
        tmp_path / "q.engine",
        precision="int8",
        job=job,
        note=outer_notes.append,
        on_progress=lambda phase, _share: outer_phases.append(phase),
    )
    assert mine
    assert mine == outer_notes
    assert "reading calibration images" in phases
    assert phases == outer_phases
    same: list[str] = []
    bas_edge.build_engine(
        tmp_path / "net.onnx",
        tmp_path / "r.engine",
        precision="int8",
        job=replace(job, note=same.append),
        note=same.append,
    )
    assert len(same) == len(set(same))


def test_a_tensorrt_graph_on_a_cpu_is_said_to_be_slow(tmp_path: Path) -> None:
    network = write_network(tmp_path / "net.onnx")
    made = Quantization(flavour="tensorrt", method="mse")
    marked = msgspec.structs.replace(read_manifest(network), precision="int8", quantization=made)
    network.write_bytes(with_manifest(network.read_bytes(), marked))
    notes: list[str] = []
    bas_edge.build_engine(network, tmp_path / "q.engine", precision="int8", note=notes.append)
    assert "quantized for TensorRT" in notes[0]
    assert "slow" in notes[0]
