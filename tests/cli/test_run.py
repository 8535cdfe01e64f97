"""`bas-edge run`: lines, annotated copies, and what happens to bad inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bas_edge.images import read_image
from bas_edge.video import VideoSource

Invoke = Callable[..., tuple[int, list[Any], str]]
Say = Callable[..., tuple[int, str, str]]


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_one_frame_is_singular(workplace: Path, say: Say) -> None:
    assert say("run", "tiny.onnx", "photos/a.jpg")[1].startswith("1 frame localized, ")


def test_images_and_a_video(workplace: Path, say: Say) -> None:
    code, out, err = say("run", "tiny.onnx", "photos", "clip.mp4")
    assert (code, err) == (0, "")
    assert "7 frames localized, an object found in 7" in out
    assert "clip.mp4: 5 frames in" in out
    assert out.endswith("Written to out\n")
    lines = results(workplace / "out")
    assert [line["source"] for line in lines] == ["photos/a.jpg", "photos/b.jpg"] + ["clip.mp4"] * 5
    assert [line["frame"] for line in lines[2:]] == list(range(5))
    for line in lines:
        assert line["class_name"] == "b"  # green
        assert line["box"] == pytest.approx([24, 16, 56, 48], abs=6)
    assert read_image(lines[0]["annotated"]).shape == (64, 96, 3)
    assert len(list(VideoSource("out/clip.mp4"))) == 5
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "a.jpg",
        "b.jpg",
        "clip.mp4",
        "results.jsonl",
    ]


def test_json_alone_writes_no_files(workplace: Path, invoke: Invoke) -> None:
    before = sorted(workplace.rglob("*"))
    code, lines, _ = invoke("run", "tiny.onnx", "photos/a.jpg", "clip.mp4")
    assert code == 0
    assert len(lines) == 1 + 5 + 1
    summary = lines[-1]["summary"]
    assert (summary["inputs"], summary["localized"], summary["found"]) == (2, 6, 6)
    assert summary["videos"][0]["frames"] == 5
    assert set(summary["videos"][0]["stages"]["infer_ms"]) == {"p50", "p90"}
    assert sorted(workplace.rglob("*")) == before


def test_json_with_output_does_both(workplace: Path, invoke: Invoke) -> None:
    _, lines, _ = invoke("run", "tiny.onnx", "photos/*.jpg", "-o", "boxes", "--no-annotate")
    assert lines[:-1] == results(workplace / "boxes")
    assert [path.name for path in Path("boxes").iterdir()] == ["results.jsonl"]


@pytest.mark.usefixtures("workplace")
def test_nothing_is_overwritten_unasked(say: Say) -> None:
    assert say("run", "tiny.onnx", "photos/a.jpg")[1].endswith("Written to out\n")
    assert say("run", "tiny.onnx", "photos/a.jpg")[1].endswith("Written to out-2\n")
    code, _, err = say("run", "tiny.onnx", "photos", "-o", "out")
    assert code == 2
    assert err == (
        "bas-edge: out already holds the results of another run.\n"
        "  hint: Give another --output, or --overwrite.\n"
    )
    assert len(results(Path("out"))) == 1
    assert say("run", "tiny.onnx", "photos", "-o", "out", "--overwrite")[0] == 0
    assert len(results(Path("out"))) == 2


@pytest.mark.usefixtures("workplace")
def test_a_run_without_any_result_leaves_and_replaces_nothing(say: Say) -> None:
    Path("bad.jpg").write_bytes(b"not an image")
    code, out, _ = say("run", "tiny.onnx", "bad.jpg")
    assert (code, out) == (2, "")
    assert not Path("out").exists()
    assert say("run", "tiny.onnx", "bad.jpg", "-o", "a/b/c")[0] == 2
    assert not Path("a").exists()
    Path("mine").mkdir()
    assert say("run", "tiny.onnx", "bad.jpg", "-o", "mine")[0] == 2
    assert Path("mine").is_dir()
    assert say("run", "tiny.onnx", "photos", "-o", "out")[0] == 0
    assert say("run", "tiny.onnx", "bad.jpg", "-o", "out", "--overwrite")[0] == 2
    assert len(results(Path("out"))) == 2


@pytest.mark.usefixtures("workplace")
def test_an_error_before_the_first_result_keeps_its_place(say: Say) -> None:
    Path("photos/0.jpg").write_bytes(b"not an image")
    assert say("run", "tiny.onnx", "photos")[0] == 7
    lines = results(Path("out"))
    assert [line["source"] for line in lines] == ["photos/0.jpg", "photos/a.jpg", "photos/b.jpg"]
    assert "error" in lines[0]


@pytest.mark.usefixtures("workplace")
def test_inputs_with_one_name_keep_their_copies(say: Say) -> None:
    Path("more").mkdir()
    Path("photos/a.jpg").rename("more/b.jpg")
    assert say("run", "tiny.onnx", "photos", "more")[0] == 0
    assert [line["annotated"] for line in results(Path("out"))] == ["out/b.jpg", "out/b-2.jpg"]


@pytest.mark.usefixtures("workplace")
def test_a_corrupt_image_is_named_skipped_and_counted(invoke: Invoke) -> None:
    Path("photos/aa.jpg").write_bytes(Path("photos/a.jpg").read_bytes()[:300])
    code, lines, err = invoke("run", "tiny.onnx", "photos", "-o", "out")
    assert code == 7
    assert err.startswith("bas-edge: 1 of 3 inputs could not be used in full: photos/aa.jpg")
    assert [("error" in line) for line in lines[:3]] == [False, True, False]
    assert lines[1]["source"] == "photos/aa.jpg"
    assert lines[-2]["summary"]["localized"] == 2
    assert lines[-1]["exit_code"] == 7
    assert {path.name for path in Path("out").iterdir()} == {"a.jpg", "b.jpg", "results.jsonl"}


@pytest.mark.usefixtures("workplace")
def test_a_video_that_ends_in_the_middle(clips: ModuleType, say: Say) -> None:
    faststart = {"movflags": "faststart"}
    clip = clips.cut(
        clips.write_clip(Path("n.mp4"), clips.noise_frames(40), options=faststart), 0.5
    )
    code, _, err = say("run", "tiny.onnx", clip)
    lines = results(Path("out"))
    assert code == 7
    assert f"cut_n.mp4 ends in the middle: {len(lines)} frames decoded" in err
    assert len(list(VideoSource("out/cut_n.mp4"))) == len(lines) > 10


@pytest.mark.usefixtures("workplace")
def test_a_broken_video_does_not_stop_the_next(say: Say) -> None:
    Path("broken.mp4").write_text("no video at all")
    code, _, err = say("run", "tiny.onnx", "broken.mp4", "clip.mp4")
    assert code == 7
    assert "broken.mp4 cannot be opened as a video" in err
    assert "cut off before its index was written" in err
    assert len([line for line in results(Path("out")) if "frame" in line]) == 5


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "tiny.onnx", "nothing.jpg"], "No such file or folder: nothing.jpg."),
        (["run", "tiny.onnx", "empty"], "No images or videos in empty."),
        (["run", "tiny.onnx", "broken.jpg"], "broken.jpg is not an image that Pillow can read."),
        (["run", "nothing.engine", "photos"], "No such engine: nothing.engine."),
        (["run", "tiny.onnx", "photos", "--codec", "h266"], "This PyAV has no encoder 'h266'."),
        (["run", "tiny.onnx", "photos", "-o", "clip.mp4"], "clip.mp4 is a file"),
        (["run", "tiny.onnx", "photos", "--top-k", "9"], "top_k"),
        (["run", "tiny.onnx", "photos", "--max-boxes", "100000"], "max_boxes is 100000, but"),
        (["run", "tiny.onnx", "photos", "--backend", "onnxruntim"], "Unknown backend"),
    ],
)
def test_inputs_that_cannot_be_used(words: list[str], message: str, say: Say) -> None:
    Path("empty").mkdir()
    Path("broken.jpg").write_text("no image at all")
    words = [*words, "clip.mp4"] if "--codec" in words else words
    code, _, err = say(*words)
    assert code == (7 if "--codec" in words else 2)
    assert message in err
    assert "Traceback" not in err


def test_engine_options_reach_the_localizer(workplace: Path, invoke: Invoke) -> None:
    assert workplace.is_dir()
    options = ("--min-score", "1", "--threshold", "0.3", "--max-boxes", "2", "--threads", "1")
    _, lines, _ = invoke("run", "tiny.onnx", "photos/a.jpg", *options)
    assert lines[0]["found"] is False
    assert lines[-1]["summary"]["found"] == 0


@pytest.mark.usefixtures("workplace")
def test_rotation_metadata_of_a_video_is_applied(clips: ModuleType, invoke: Invoke) -> None:
    clip = clips.turn(Path("clip.mp4"), clips.DISPLAY_MATRICES[90])
    _, lines, _ = invoke("run", "tiny.onnx", clip)
    assert (lines[0]["width"], lines[0]["height"]) == (64, 96)
    # (24, 16, 56, 48) of 96×64, a quarter turn counter-clockwise
    assert lines[0]["box"] == pytest.approx([16, 40, 48, 72], abs=6)


@pytest.mark.usefixtures("workplace")
def test_png_and_other_images_are_annotated_without_loss(say: Say) -> None:
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save("black.webp")
    assert say("run", "tiny.onnx", "black.webp")[0] == 0
    assert not read_image("out/black.png").any()  # nothing found, nothing drawn


def test_a_full_disk_ends_a_run_of_files(workplace: Path, say: Say) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    code, _, err = say("run", "tiny.onnx", "clip.mp4", "--no-save", "--jsonl", "/dev/full")
    assert code == 1
    assert "Cannot write /dev/full: No space left on device." in err
