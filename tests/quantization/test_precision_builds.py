"""Builds of fewer bits: other data, fp16, refusals, plans, and what a caller is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from colour_network import colour_manifest, picture, write_network
from PIL import Image

import bas_edge
from bas_edge.engine.bundle import Engine, open_engine
from bas_edge.engine.manifest import Precision, Quantization
from bas_edge.engine.onnx_metadata import read_manifest, with_manifest
from bas_edge.engine.rebuild import rebuild_plan
from bas_edge.errors import AccuracyError, InputError
from bas_edge.quantization import int8, reduce
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.report import PrecisionReport
from bas_edge.quantization.report_file import read_report
from bas_edge.quantization.yardstick import Bound


def report_of(engine: Engine) -> PrecisionReport:
    return read_report(open_engine(engine.path))


def test_bare_images_are_held_to_agreement(build: Callable[..., Engine], pictures: Path) -> None:
    report = report_of(
        build(evaluation=str(pictures / "val" / "*.png"), background=None, bound=Bound(0.5, 0.9))
    )
    assert [check.metric for check in report.checks] == [
        "box IoU with float32",
        "same class as float32",
        "objects found at min_score",
    ]
    assert [check.unit for check in report.checks] == ["IoU", "percent", "percent"]
    assert report.checks[0].limit == pytest.approx(0.1)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_agreement_and_false_positives_are_no_accuracy(
    build: Callable[..., Engine], pictures: Path, precision: str
) -> None:
    engine = build(precision=precision)
    assert report_of(engine).checks[-1].metric == "false positives on background"
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


@pytest.mark.parametrize(
    ("precision", "times", "said"),
    [
        ("int8", [2.0, 1.8], False),
        ("int8", [2.0, 1.91], True),
        ("fp16", [2.0, 5.0], True),
        ("fp16", [2.0, 1.0], False),
    ],
)
def test_it_is_said_where_fewer_bits_are_not_faster(
    build: Callable[..., Engine],
    precision: str,
    times: list[float],
    said: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = iter(times)
    monkeypatch.setattr(reduce._Writer, "_latency", lambda *_: next(measured))
    notes = [note for note in report_of(build(precision=precision)).notes if "faster" in note]
    sentence = (
        f"The {precision} graph takes {times[1]:.2f} ms a frame, the float32 one 2.00 ms: it is "
        "not faster on this machine."
    )
    assert notes == ([sentence] if said else [])


@pytest.mark.parametrize(("precision", "count"), [("int8", 1), ("fp16", 2)])
def test_a_graph_for_another_machine_is_not_compared(
    precision: str, count: int, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan is built of it; and Q/DQ nodes for TensorRT are slow on a CPU, so never timed."""
    times = [2.0, 5.0]
    monkeypatch.setattr(reduce._Writer, "_latency", lambda *_: times.pop(0))
    notes: list[str] = []
    method = "min-max" if precision == "int8" else "auto"
    job = PrecisionJob(pictures / "calib", method=method, force=True, note=notes.append)
    path = write_network(tmp_path / "net.onnx")
    with reduce.reduced_graph(path, colour_manifest(), precision, "tensorrt", job) as reduced:
        report = reduced.report
    assert report.stages[-1].latency_ms == (5.0 if count == 2 else None)
    assert len(times) == 2 - count
    assert not any("faster" in note for note in notes)


def test_int8_without_images_is_refused(tmp_path: Path) -> None:
    network = write_network(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="real images") as e:
        bas_edge.build_engine(network, tmp_path / "q.engine", precision="int8")
    assert "--calib" in str(e.value.hint)
    assert not (tmp_path / "q.engine").exists()


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_video_alone_is_enough(
    build: Callable[..., Engine], clips: ModuleType, tmp_path: Path, precision: str
) -> None:
    """No image file anywhere: the report shows the frames that moved most itself."""
    random = np.random.default_rng(4)
    frames = [picture(random, n % 3)[0] for n in range(125)]
    video = clips.write_clip(tmp_path / "clip.mp4", frames)
    engine = build(
        precision=precision, calibration=video, evaluation=None, background=None, force=True
    )
    report = report_of(engine)
    assert report.images == 25
    assert all(one.seen for one in report.worst)
    assert precision == "fp16" or report.worst
    assert "cannot be shown" not in (engine.path / "report.html").read_text(encoding="utf-8")


def test_pooling_alone_is_no_int8_network(
    build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that sends every layer with weights back to float has found nothing."""

    def everything(order: list[str], *_: object, **__: object) -> tuple[tuple[str, ...], tuple[()]]:
        return tuple(order), ()

    monkeypatch.setattr(int8, "search", everything)
    with pytest.raises(AccuracyError):
        build("fixed")


@pytest.mark.parametrize("options", [{"method": "mse"}, {"reduce_range": True}])
def test_fp16_has_no_ranges(
    build: Callable[..., Engine], tmp_path: Path, options: dict[str, Any]
) -> None:
    (name,) = options
    with pytest.raises(InputError, match=f"^{name} would change nothing in precision fp16"):
        build(precision="fp16", **options)
    assert not (tmp_path / "q.engine").exists()


@pytest.mark.parametrize(
    ("precision", "options", "message"),
    [
        ("int8", {"method": "qat"}, "has no trained ranges"),
        ("int8", {"graph": "quantized"}, "is quantized already"),
        ("fp16", {"graph": "quantized"}, "The graph is quantized"),
    ],
)
def test_a_graph_is_refused_before_any_image_is_read(
    tmp_path: Path, precision: Precision, options: dict[str, str], message: str
) -> None:
    path = write_network(tmp_path / "net.onnx")
    given = dict(options)
    if given.pop("graph", ""):
        model = onnx.load(path)
        model.graph.node[0].op_type = "DequantizeLinear"
        onnx.save(model, path)
    job = PrecisionJob(calibration=tmp_path / "no-such-folder", **given)
    with pytest.raises(InputError, match=message):
        bas_edge.build_engine(path, tmp_path / "q.engine", precision=precision, job=job)


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
