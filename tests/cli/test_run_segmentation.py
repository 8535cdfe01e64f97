"""`bas-edge run` with an engine for segmentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bas_edge.images import read_image
from bas_edge.video import VideoSource

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(workplace: Path, tiny_segmenter: Callable[..., Path]) -> Path:
    """That of localization: a green square in each frame, which is class b here too."""
    return tiny_segmenter(workplace / "seg.onnx")


@pytest.mark.usefixtures("place")
def test_images_and_a_video(workplace: Path, say: Say) -> None:
    code, out, err = say("run", "seg.onnx", "photos", "clip.mp4", "--jsonl", "all.jsonl")
    assert (code, err) == (0, "")
    assert "7 frames segmented, an object found in 7" in out
    lines = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    assert len(Path("all.jsonl").read_text().splitlines()) == len(lines) == 7
    for line in lines:
        (one,) = line["objects"]
        assert (line["found"], one["label"], one["class_name"]) == (True, 1, "b")
        assert one["box"] == pytest.approx([24, 16, 56, 48], abs=8)
        assert one["area"] == pytest.approx(32 * 32 / (64 * 96), abs=0.06)
    green, mixed = (0, 255, 0), (0, 179, 0)  # VOC's class 2 is (0, 128, 0), of which there is 0.6
    copies = [read_image("out/a.jpg"), *(each.pixels for each in VideoSource("out/clip.mp4"))]
    assert len(copies) == 6
    for copy in copies:
        assert copy[32, 40].tolist() == pytest.approx(mixed, abs=20)
        legend = copy[3:12, 3:30]  # "b 17 %" in white on its colour; the frame is black there
        assert legend[..., 1].min() > 60
        assert legend[..., 0].max() > 150
    assert read_image(workplace / "photos" / "a.jpg")[32, 40].tolist() == pytest.approx(
        green, abs=20
    )


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--smooth", "light"), "Smoothing is for engines that localize, and this is one for seg"),
        (("--threshold", "0.5"), "threshold is for engines that localize, and seg.onnx is one for"),
        (("--top-k", "2"), "top_k is for engines that localize"),
        (("--min-score", "0.5"), "min_score is for engines that localize"),
        (("--max-boxes", "3"), "max_boxes is for engines that localize"),
        (
            ("--rebuild", "--backend", "onnxruntime"),
            "rebuild and device are about plans, and the backend 'onnxruntime' has",
        ),
    ],
)
def test_options_of_boxes_are_refused(say: Say, option: tuple[str, ...], message: str) -> None:
    code, out, err = say("run", "seg.onnx", "clip.mp4", *option)
    assert (code, out) == (2, "")
    assert err.startswith(f"bas-edge: {message}")
    assert not Path("out").exists()


@pytest.mark.usefixtures("place")
def test_the_backend_can_be_chosen(say: Say) -> None:
    code, _, err = say("run", "seg.onnx", "clip.mp4", "--backend", "tensorrt")
    assert code == 4
    assert err.startswith("bas-edge: seg.onnx is a bare ONNX file, but the backend 'tensorrt' runs")
    assert say("run", "seg.onnx", "clip.mp4", "--backend", "onnxruntime")[0] == 0


@pytest.mark.usefixtures("place")
def test_smoothing_that_is_off_is_none(say: Say) -> None:
    assert say("run", "seg.onnx", "clip.mp4", "--smooth", "off")[0] == 0


@pytest.mark.usefixtures("place")
def test_a_picture_without_classes(say: Say) -> None:
    Image.new("RGB", (40, 30)).save("black.png")
    code, out, _ = say("run", "seg.onnx", "black.png")
    assert code == 0
    assert out.startswith("1 frame segmented, an object found in 0")
