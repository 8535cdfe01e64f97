"""Engines for segmentation in fp16 and int8, held to their masks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from colour_network import picture, write_network, write_pictures
from PIL import Image

import bas_edge
from bas_edge.engine.bundle import Engine, open_engine
from bas_edge.engine.manifest import Precision
from bas_edge.errors import AccuracyError, InputError
from bas_edge.images import read_image
from bas_edge.quantization.frame_source import find_frames
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
        resize: str = "stretch",
        **options: Any,
    ) -> Engine:
        model = segmentation_graph.layered_segmenter(
            tmp_path / "seg.onnx", planted=planted, resize=resize
        )
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


@pytest.mark.parametrize(
    ("precision", "resize"), [("int8", "stretch"), ("int8", "letterbox"), ("fp16", "centre_crop")]
)
def test_the_bound_is_what_evaluate_says_of_the_engine(
    build: Callable[..., Engine], masked: Path, tmp_path: Path, precision: Precision, resize: str
) -> None:
    engine = build(precision=precision, resize=resize)
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


def test_of_a_set_with_masks_ranges_see_the_images_to_train_on(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    annotation = "<annotation><object><name>cat</name></object></annotation>"
    for folder in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for name in ("one", "two", "three"):
        Image.new("RGB", (8, 6)).save(root / "JPEGImages" / f"{name}.jpg")
        Image.new("L", (8, 6)).save(root / "SegmentationClass" / f"{name}.png")
        (root / "Annotations" / f"{name}.xml").write_text(annotation)
    lists = root / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("two\none\n")
    named = [path.name for path in find_frames(tmp_path / "VOCdevkit").images]
    assert named == ["one.jpg", "two.jpg"]
    (lists / "train.txt").unlink()
    with pytest.raises(InputError, match=r"train\.txt"):
        find_frames(root)
    lists.rmdir()  # then it is a folder like any
    assert len(find_frames(root).images) == 6


@pytest.mark.parametrize("missing", ["classes.json", "index.csv"])
def test_a_set_that_is_almost_right_says_what_is_missing(
    build: Callable[..., Engine], masked: Path, tmp_path: Path, missing: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(masked, other)
    (other / missing).unlink()
    if missing == "classes.json":
        with pytest.raises(InputError, match=r"has index\.csv but no classes\.json"):
            build(evaluation=other)
    else:  # a folder of images like any, the masks among them
        with pytest.raises(InputError, match="105 of 270 evaluation images are also calibration"):
            build(evaluation=other)


def test_masks_of_an_index_are_no_calibration_images(build: Callable[..., Engine]) -> None:
    calibration = report_of(build()).calibration
    assert calibration is not None
    assert calibration.images == 105


@pytest.mark.parametrize("evaluation", ["a fifth", "bare images"])
def test_without_masks_it_is_held_to_those_of_float32(
    build: Callable[..., Engine], masked: Path, tmp_path: Path, evaluation: str
) -> None:
    bare = tmp_path / "bare"
    write_pictures(bare, 25, seed=8)
    engine = build(evaluation=None if evaluation == "a fifth" else str(bare / "*.png"))
    report = report_of(engine)
    (check,) = report.checks
    assert (check.metric, check.unit, check.reference) == ("mIoU with float32", "IoU", None)
    assert check.limit == pytest.approx(0.15)
    assert 0.85 < check.value < 1
    assert report.images == (21 if evaluation == "a fifth" else 25)
    assert engine.manifest.accuracy == ()
    stage = report.stages[-1]
    assert stage.mask_iou is not None
    assert stage.box_iou is None
    assert sum(stage.mask_iou.histogram) == report.images
    if evaluation == "bare images":
        paths = sorted(bare.glob("*.png"))
        with (
            bas_edge.Segmenter(tmp_path / "seg.onnx") as one,
            bas_edge.Segmenter(engine.path) as two,
        ):
            same = [
                (one.run(pixels).mask == two.run(pixels).mask).mean()
                for pixels in map(read_image, paths)
            ]
        assert stage.label_agreement == pytest.approx(100 * float(np.mean(same)), abs=0.5)


def test_layers_return_to_float_until_the_bound_holds(build: Callable[..., Engine]) -> None:
    engine = build("fixed")
    report = report_of(engine)
    assert report.verdict == "accepted after search"
    assert not report.methods[0].held
    assert report.methods[0].checks[0].loss > 5
    assert "dense" in [kept.node for kept in report.kept]
    assert all(check.held for check in report.checks)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_the_layer_of_the_scores_stays_in_float(
    build: Callable[..., Engine], precision: str
) -> None:
    graph = onnx.load(build(precision=precision).model_path).graph
    scores = next(node for node in graph.node if node.output[0] == "scores")
    assert scores.op_type == "Conv"
    weights = next(one for one in graph.initializer if one.name == scores.input[1])
    assert weights.data_type == onnx.TensorProto.FLOAT
    name, kind = ("/codes", "INT8") if precision == "int8" else ("_fp16", "FLOAT16")
    others = next(one for one in graph.initializer if one.name == f"dense.weight{name}")
    assert others.data_type == getattr(onnx.TensorProto, kind)


def test_what_the_bound_refuses_is_not_written(
    build: Callable[..., Engine], tmp_path: Path
) -> None:
    with pytest.raises(AccuracyError, match=r"points of mIoU on 30 images .*mIoU loses") as e:
        build("fixed", search_budget_s=0)
    assert "--precision fp16 may help" in str(e.value.hint)
    assert "--qat" not in str(e.value.hint)  # which trains no segmenters
    assert not (tmp_path / "seg.engine").exists()
    page = (tmp_path / "seg.refused" / "report.html").read_text(encoding="utf-8")
    assert "The masks that changed most" in page
    assert "Where they differ" in page
    assert "Mask IoU, mean" in page
    assert "Box IoU" not in page
    assert "Probability error" in page
    forced = build("fixed", search_budget_s=0, force=True)
    worst = report_of(forced).worst_masks
    assert worst
    assert [one.iou for one in worst] == sorted(one.iou for one in worst)
    # the planted channel, one of a, alone is left of eight bits
    assert {name for one in worst for name in one.classes_reference} == {"b", "c"}


def test_a_video_alone_is_enough(
    build: Callable[..., Engine], clips: ModuleType, tmp_path: Path
) -> None:
    """No image file anywhere: the report shows the frames that changed most itself."""
    rng = np.random.default_rng(4)
    video = clips.write_clip(tmp_path / "clip.mp4", [picture(rng, n % 3)[0] for n in range(125)])
    report = report_of(build(calibration=video, evaluation=None, force=True))
    assert report.images == 25
    assert report.worst_masks
    assert all(one.seen for one in report.worst_masks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "photos"}, "--background is about min_score"),
        (
            {"must_apply": ("min_agreement",)},
            "--min-agreement is for images without masks; those of .* have them",
        ),
        (
            {"evaluation": None, "must_apply": ("max_drop",)},
            "--max-drop is for images with masks; those that the bound is measured on have none",
        ),
        ({"evaluation_split": "test"}, "has no rows of the split 'test'"),
        ({"evaluation_split": "train"}, "105 of 105 evaluation images are also calibration"),
    ],
)
def test_what_does_not_fit_is_refused(
    build: Callable[..., Engine], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build(**options)
    assert not (tmp_path / "seg.engine").exists()


def test_a_split_of_no_data_set_is_refused(build: Callable[..., Engine], masked: Path) -> None:
    with pytest.raises(InputError, match="--eval-split is about a VOC, COCO or index folder"):
        build(evaluation=masked / "index.csv", evaluation_split="val")


def test_other_classes_are_refused(
    build: Callable[..., Engine], masked: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(masked, other)
    names = (other / "classes.json").read_text()
    (other / "classes.json").write_text(names.replace('"c"', '"d"'))
    (other / "index.csv").write_text((other / "index.csv").read_text().replace(",c,", ",d,"))
    with pytest.raises(InputError, match=r"knows 3 classes, from 'a' to 'c'; .* to 'd'"):
        build(evaluation=other)


def test_masks_of_another_size_are_left_out(
    build: Callable[..., Engine], masked: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(masked, other)
    Image.new("L", (5, 4)).save(other / "masks" / "110.png")
    notes: list[str] = []
    report = report_of(build(evaluation=other, note=notes.append))
    assert report.images == 29
    assert any("is 64 × 48, but its mask is 5 × 4" in note for note in notes)


def test_masks_of_which_nothing_counts_are_refused(
    build: Callable[..., Engine], masked: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(masked, other)
    for mask in (other / "masks").iterdir():
        Image.new("L", (64, 48), 255).save(mask)
    with pytest.raises(InputError, match="No pixel of the 30 true masks counts"):
        build(evaluation=other)


def test_a_localizer_has_no_split(masked: Path, tmp_path: Path) -> None:
    job = PrecisionJob(masked, evaluation=masked, evaluation_split="val", method="min-max")
    with pytest.raises(InputError, match="--eval-split is about masks"):
        bas_edge.build_engine(
            write_network(tmp_path / "net.onnx"), tmp_path / "q.engine", precision="int8", job=job
        )


@pytest.mark.rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_real_plans_are_built(
    build: Callable[..., Engine], tmp_path: Path, precision: Precision
) -> None:
    if precision == "fp32":
        build()  # writes seg.onnx
        engine = bas_edge.build_engine(
            tmp_path / "seg.onnx", tmp_path / "p.engine", backend="tensorrt_rtx", targets="sm_86"
        )
    else:
        engine = build(precision=precision, backend="tensorrt_rtx")
        assert report_of(engine).stages[-1].note.startswith("tensorrt_rtx")
    (plan,) = engine.manifest.plans
    assert (plan.backend, plan.precision) == ("tensorrt_rtx", precision)
    assert bas_edge.open_engine(engine.path) == engine
    with bas_edge.Segmenter(engine.path) as segmenter:  # no driver here: its graph
        assert segmenter.run(np.zeros((48, 64, 3), np.uint8)).objects == ()


@pytest.fixture
def build_plan(
    gpu: Any, build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Engine]:
    """`build` for the pretended TensorRT, whose plan computes what the graph does."""
    monkeypatch.setattr("bas_edge.engine.memory.available_bytes", lambda: 1 << 40)
    gpu.script.outcomes[:] = [lambda model: gpu.plan(model, (1, 1, 8))]
    return lambda **options: build(backend="tensorrt", **options)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_plan_is_run_on_the_images_of_the_bound(
    gpu: Any, build_plan: Callable[..., Engine], precision: str
) -> None:
    report = report_of(build_plan(precision=precision))
    stage = report.stages[-1]
    assert (stage.name, stage.against, stage.images) == ("plan", precision, 30)
    assert stage.mask_iou is not None
    assert stage.mask_iou.mean > 0.9  # the fake rounds as ONNX Runtime, not as TensorRT
    assert stage.latency_ms is not None
    assert "10.3.0; the time is of upload, network and download on the GPU" in stage.note
    assert [check.metric for check in report.plan_checks] == ["mIoU"]
    assert report.plan_checks[0].value == pytest.approx(report.checks[0].value, abs=0.5)
    assert sum(gpu.runs) >= 30


def test_a_plan_that_loses_masks_refuses_the_engine(
    gpu: Any, build_plan: Callable[..., Engine], tmp_path: Path
) -> None:
    gpu.poison["scores"] = np.float32(0)
    with pytest.raises(AccuracyError, match="The plan on this GPU: mIoU loses"):
        build_plan()
    assert not (tmp_path / "seg.engine").exists()
