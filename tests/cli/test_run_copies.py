"""Which names the copies of `bas-edge run` get, and whose they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bas_edge.errors import BasEdgeError
from bas_edge.video import VideoSource
from bas_edge.video.stills import write_image

Say = Callable[..., tuple[int, str, str]]


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_no_input_is_ever_overwritten(workplace: Path, options: tuple[str, ...], say: Say) -> None:
    elsewhere = workplace / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "clip.mp4").write_bytes(Path("clip.mp4").read_bytes())
    Path("clip.mp4").rename("clip.partial.mp4")  # what a copy is called first
    Path("link.jpg").symlink_to("photos/a.jpg")
    inputs = ["photos/a.jpg", "elsewhere/clip.mp4", "clip.partial.mp4", "link.jpg"]
    before = [Path(name).read_bytes() for name in inputs]
    assert say("run", "tiny.onnx", *inputs, "-o", ".", *options)[0] == 0
    assert say("run", "tiny.onnx", *inputs, "-o", "photos", *options)[0] == 0
    assert [Path(name).read_bytes() for name in inputs] == before
    assert {line["source"]: line["annotated"] for line in results(workplace)} == {
        "photos/a.jpg": "a.jpg",
        "elsewhere/clip.mp4": "clip-2.mp4",
        "clip.partial.mp4": "clip.partial-2.mp4",
        "link.jpg": "link-2.jpg",
    }
    assert {line["source"]: line["annotated"] for line in results(workplace / "photos")} == {
        "photos/a.jpg": "photos/a-2.jpg",
        "elsewhere/clip.mp4": "photos/clip.mp4",
        "clip.partial.mp4": "photos/clip.partial-2.mp4",
        "link.jpg": "photos/link.jpg",
    }


def test_files_that_are_no_inputs_are_replaced_only_with_overwrite(
    workplace: Path, say: Say
) -> None:
    mine = workplace / "mine"
    mine.mkdir()
    for name in ("a.jpg", "clip.mp4"):
        (mine / name).write_text("mine")
    assert say("run", "tiny.onnx", "photos/a.jpg", "clip.mp4", "-o", "mine")[0] == 0
    assert (mine / "a.jpg").read_text() == (mine / "clip.mp4").read_text() == "mine"
    assert (mine / "a-2.jpg").is_file()
    assert len(list(VideoSource(mine / "clip-2.mp4"))) == 5
    again = ("run", "tiny.onnx", "photos/a.jpg", "clip.mp4", "-o", "mine", "--overwrite")
    assert say(*again)[0] == 0
    assert results(mine)[0]["annotated"] == "mine/a.jpg"
    assert len(list(VideoSource(mine / "clip.mp4"))) == 5


def test_videos_of_one_name_are_told_apart(workplace: Path, clips: ModuleType, say: Say) -> None:
    for frames, suffix in enumerate(("mkv", "mp4", "avi"), start=2):
        clips.write_clip(Path(f"small.{suffix}"), [np.zeros((48, 64, 3), np.uint8)] * frames)
    assert say("run", "tiny.onnx", "small.mkv", "small.mp4", "small.avi", "-o", "out")[0] == 0
    lines = results(workplace / "out")
    assert Counter((line["source"], line["stream"], line["annotated"]) for line in lines) == {
        ("small.mkv", "small", "out/small.mp4"): 2,
        ("small.mp4", "small-2", "out/small-2.mp4"): 3,
        ("small.avi", "small-3", "out/small-3.mp4"): 4,
    }
    for line in lines:
        frames = sum(one["source"] == line["source"] for one in lines)
        assert len(list(VideoSource(line["annotated"]))) == frames


def test_a_copy_that_cannot_be_written_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    def full(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    (tmp_path / "a.jpg").write_text("the last one")
    with pytest.raises(BasEdgeError, match=r"Cannot write .*a\.jpg: No space left on device\."):
        write_image(tmp_path / "a.jpg", np.zeros((4, 4, 3), np.uint8))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the last one"]
