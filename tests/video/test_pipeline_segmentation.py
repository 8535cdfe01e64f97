"""A Segmenter where a Localizer may be: pipelines, sinks, cameras.toml, and what it cannot do."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from pipeline_parts import Recorder, run_to_end

from bas_edge import Localizer, Segmenter
from bas_edge.errors import BackendError, InputError
from bas_edge.video import (
    Crops,
    Csv,
    EventRule,
    Events,
    FrameResult,
    JsonLines,
    Pipeline,
    RuleEvent,
    Smoothing,
    Stream,
    open_for_pipeline,
    open_source,
)
from bas_edge.video.camera_config import read_cameras
from bas_edge.video.camera_pipeline import open_cameras
from bas_edge.video.pipeline_engine import open_frame_engine
from bas_edge.video.sinks.result_filter import ResultFilter

LIGHT = Smoothing.named("light")


def picture(*colours: int) -> NDArray[np.uint8]:
    """[64, 96, 3]: the left half of the first channel, a smaller square of the second."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    for at, channel in enumerate(colours):
        if at == 0:
            pixels[:, :48, channel] = 255
        else:
            pixels[16:48, 56:88, channel] = 255
    return pixels


NOTHING, RED, RED_AND_GREEN = picture(), picture(0), picture(0, 1)


@pytest.fixture(scope="module")
def engine(tiny_segmenter: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_segmenter(tmp_path_factory.mktemp("engine") / "tiny.onnx")


@pytest.fixture(scope="module")
def segmenter(engine: Path) -> Iterator[Segmenter]:
    with Segmenter(engine, threads=1) as opened:
        yield opened


def shown(*frames: NDArray[np.uint8]) -> Stream:
    return open_source(iter(frames), name="street", policy="wait")


def seen(segmenter: Segmenter, *frames: NDArray[np.uint8]) -> list[FrameResult]:
    recorder = Recorder()
    pipeline = Pipeline(segmenter)
    pipeline.add(shown(*frames), sinks=[recorder])
    run_to_end(pipeline)
    return recorder.results


def test_results_are_those_of_the_segmenter_in_order(segmenter: Segmenter) -> None:
    frames = [RED, NOTHING, RED_AND_GREEN] * 4
    recorder = Recorder()
    pipeline = Pipeline(segmenter, workers=2)
    pipeline.add(shown(*frames), sinks=[recorder], smooth=Smoothing.named("off"))
    stats = run_to_end(pipeline)
    assert (stats.lanes[0].results, stats.lanes[0].found) == (12, 8)
    for result, frame in zip(recorder.results, frames, strict=True):
        expected = segmenter.run(frame)
        np.testing.assert_array_equal(result.segmentation.mask, expected.mask)
        assert result.finding.objects == expected.objects
    assert pipeline.smoothing("street") is None
    segmenter.run(RED)  # clones were closed, this one was not


def test_a_result_is_of_one_task(
    segmenter: Segmenter, tiny_onnx: Callable[..., Path], tmp_path: Path
) -> None:
    (result,) = seen(segmenter, RED)
    with pytest.raises(InputError, match="is a Segmentation, not a Localization"):
        _ = result.localization
    recorder = Recorder()
    with Localizer(tiny_onnx(tmp_path / "boxes.onnx"), threads=1) as localizer:
        pipeline = Pipeline(localizer)
        pipeline.add(shown(RED), sinks=[recorder])
        run_to_end(pipeline)
    assert recorder.results[0].localization.class_name
    with pytest.raises(InputError, match="is a Localization, not a Segmentation"):
        _ = recorder.results[0].segmentation


def test_a_clone_outlives_its_original(engine: Path) -> None:
    first = Segmenter(engine, threads=1)
    twin = first.clone()
    first.close()
    assert twin.run(RED).objects[0].class_name == "a"
    assert (twin.classes, twin.backend_name) == (("a", "b", "c"), "onnxruntime")
    twin.close()
    with pytest.raises(BackendError, match="This Segmenter is closed"):
        twin.clone()


def test_every_class_is_in_lines_and_tables(segmenter: Segmenter, tmp_path: Path) -> None:
    sinks = [
        JsonLines(tmp_path / "a.jsonl"),
        Csv(tmp_path / "a.csv"),
        Crops(tmp_path / "{frame}-{class}.png", interval_s=0.0, margin=0.0),
    ]
    pipeline = Pipeline(segmenter)
    pipeline.add(shown(NOTHING, RED_AND_GREEN), sinks=sinks)
    run_to_end(pipeline)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    results = [line for line in lines if "found" in line]
    assert [line["found"] for line in results] == [False, True]
    assert [one["class_name"] for one in results[1]["objects"]] == ["a", "b"]
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["found"], row["class_name"]) for row in rows] == [
        ("0", "false", ""),
        ("1", "true", "a"),
        ("1", "true", "b"),
    ]
    large, small = results[1]["objects"]
    assert float(rows[1]["area"]) == pytest.approx(large["area"], abs=1e-6)
    assert (rows[2]["score"], float(rows[2]["x0"])) == ("", small["box"][0])
    assert [path.name for path in tmp_path.glob("*.png")] == ["1-a.png"]  # the largest class


def test_rules_look_at_every_class(segmenter: Segmenter) -> None:
    told: list[RuleEvent] = []
    right = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))
    rules = [EventRule("green", classes=("b",), zone=right), EventRule("red", ("a",), zone=right)]
    pipeline = Pipeline(segmenter)
    pipeline.add(shown(RED, RED_AND_GREEN), sinks=[Events(rules, on_event=told.append)])
    run_to_end(pipeline)
    (event,) = told
    assert (event.rule, event.frame, event.class_name, event.score) == ("green", 1, "b", None)
    assert event.to_dict()["score"] is None


def test_a_change_is_another_set_of_classes(segmenter: Segmenter) -> None:
    frames = (NOTHING, RED, RED, RED_AND_GREEN, RED_AND_GREEN[:, ::-1], NOTHING)
    passes = ResultFilter("change").passes
    results = seen(segmenter, *frames)
    assert [passes(result) for result in results] == [False, True, False, True, False, True]


class Steady:
    """A smoother of boxes."""

    def steady(self, frame: object, localization: object) -> object:
        raise AssertionError((frame, localization))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smooth": LIGHT}, "Smoothing is for engines that localize, and this is one for segm"),
        ({"smooth": Steady()}, "Smoothing is for engines that localize"),
        ({"sinks": [Crops(min_score=0.5)]}, "The sink Crops has min_score 0.5, but an engine for"),
        (
            {"sinks": [Events([EventRule("sure", min_score=0.9)], on_event=print)]},
            "The rule 'sure' has min_score 0.9, but an engine for segmentation gives no scores",
        ),
        ({"sinks": [Events([EventRule("d", ("dog",))], on_event=print)]}, "for the class 'dog'"),
    ],
)
def test_what_needs_boxes_or_scores_is_refused(
    segmenter: Segmenter, options: dict[str, object], message: str
) -> None:
    with Pipeline(segmenter) as pipeline, pytest.raises(InputError, match=message):
        pipeline.add(shown(RED), **options)


def test_there_is_nothing_to_tune(segmenter: Segmenter) -> None:
    with Pipeline(segmenter) as pipeline:
        pipeline.add(shown(RED))
        assert pipeline.engine is segmenter
        for change in (
            lambda: pipeline.retune(threshold=0.5),
            lambda: pipeline.set_smoothing("street", LIGHT),
            lambda: pipeline.localizer,
        ):
            with pytest.raises(InputError, match="is for engines that localize"):
                change()


@pytest.mark.parametrize(
    "option",
    [
        {"threshold": 0.5},
        {"top_k": 1},
        {"min_score": 0.0},
        {"max_boxes": 2},
        {"boxes_only": True},
    ],
    ids=str,
)
def test_options_of_boxes_are_refused_by_name(engine: Path, option: dict[str, object]) -> None:
    (name,) = option
    with pytest.raises(InputError, match=f"^{name} is for engines that localize, and .*tiny.onnx"):
        open_for_pipeline(engine, **option)


def test_an_engine_is_opened_by_its_task(engine: Path) -> None:
    options = {"threshold": None, "top_k": None, "min_score": None, "max_boxes": 1}
    opened, workers = open_for_pipeline(engine, threads=2, **options)
    with opened:
        assert isinstance(opened, Segmenter)
    assert workers == 2


@pytest.mark.parametrize("task", ["localization", "segmentation"])
def test_what_is_asked_of_a_plan_is_void_without_one(
    task: str,
    tiny_onnx: Callable[..., Path],
    tiny_segmenter: Callable[..., Path],
    tmp_path: Path,
) -> None:
    engine = (tiny_onnx if task == "localization" else tiny_segmenter)(tmp_path / "tiny.onnx")
    with open_frame_engine(engine, device=1, rebuild=True) as opened:
        assert opened.backend_name == "onnxruntime"
    opened, _ = open_for_pipeline(engine, threads=1, device=1, rebuild=True)
    opened.close()
    assert opened.backend_name == "onnxruntime"
    with pytest.raises(InputError, match="the backend 'onnxruntime' has none"):
        open_for_pipeline(engine, backend="onnxruntime", rebuild=True)


CAMERA = """
engine = "tiny.onnx"
[[camera]]
name = "gate"
source = "clip.mp4"
policy = "wait"
"""


@pytest.mark.parametrize("task", ["localization", "segmentation"])
def test_cameras_are_smoothed_where_there_are_boxes(
    task: str,
    tiny_onnx: Callable[..., Path],
    tiny_segmenter: Callable[..., Path],
    clips: ModuleType,
    tmp_path: Path,
) -> None:
    (tiny_onnx if task == "localization" else tiny_segmenter)(tmp_path / "tiny.onnx")
    clips.write_clip(tmp_path / "clip.mp4", [RED] * 2)
    (tmp_path / "cameras.toml").write_text(CAMERA)
    with open_cameras(read_cameras(tmp_path / "cameras.toml")) as pipeline:
        used = pipeline.smoothing("gate")
        assert used == (LIGHT if task == "localization" else None)
        assert pipeline.run().lanes[0].results == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('smooth = "strong"', r"camera 'gate' \(camera\[0\]\): Smoothing is for engines that loc"),
        ('[[sink]]\ntype = "crops"\nmin_score = 0.5', r"sink\[0\] \(crops\): The sink Crops has"),
        ("[engine]\npath = 'tiny.onnx'\ntop_k = 2", "engine: top_k is for engines that localize"),
    ],
)
def test_a_camera_file_is_told_the_place(
    more: str, message: str, tiny_segmenter: Callable[..., Path], tmp_path: Path, clips: ModuleType
) -> None:
    tiny_segmenter(tmp_path / "tiny.onnx")
    clips.write_clip(tmp_path / "clip.mp4", [RED] * 2)
    text = CAMERA.replace('engine = "tiny.onnx"', "") if "[engine]" in more else CAMERA
    (tmp_path / "cameras.toml").write_text(f"{text}{more}\n")
    config = read_cameras(tmp_path / "cameras.toml")
    with pytest.raises(InputError, match=message), open_cameras(config):
        pass
