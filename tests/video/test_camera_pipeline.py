"""The pipeline of a `cameras.toml`, and what is refused before its engine is opened."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bas_edge.errors import InputError
from bas_edge.video import FrameResult, Pipeline, StreamEvent
from bas_edge.video.camera_config import read_cameras
from bas_edge.video.camera_pipeline import open_cameras, open_stream

HEAD = """
engine = "tiny.onnx"
[[camera]]
name = "yard"
source = "rtsp://yard/live"
[[camera]]
name = "door"
source = "rtsp://door/live"
"""
DOOR = "camera 'door' (camera[1])"


def write(folder: Path, text: str) -> Path:
    path = folder / "cameras.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_pipeline_of_a_file(
    tmp_path: Path, tiny_onnx: Callable[..., Path], clips: ModuleType
) -> None:
    tmp_path = tmp_path / "a {strange} folder"
    tmp_path.mkdir()
    tiny_onnx(tmp_path / "tiny.onnx")
    clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(6))
    clips.write_clip(tmp_path / "b.mp4", clips.noise_frames(4))
    text = """
engine = "tiny.onnx"
[[camera]]
source = "a.mp4"
policy = "wait"
[[camera]]
name = "second"
source = "b.mp4"
policy = "wait"
smooth = "off"
[[camera.sink]]
type = "csv"
[[sink]]
type = "jsonl"
path = "all.jsonl"
"""
    with open_cameras(read_cameras(write(tmp_path, text))) as pipeline:
        stats = pipeline.run(duration_s=60)
    assert {lane.stream.name: lane.results for lane in stats.lanes} == {"a": 6, "second": 4}
    lines = [json.loads(line) for line in (tmp_path / "out/all.jsonl").read_text().splitlines()]
    assert sum("frame" in line for line in lines) == 10
    (table,) = (tmp_path / "out").glob("second-*.csv")
    assert len(table.read_text().splitlines()) == 5
    assert not stats.failures


ONE_VIDEO = """
engine = "tiny.onnx"
[[camera]]
source = "a.mp4"
policy = "wait"
{source}
{sink}
type = "video"
codec = "mpeg4"
segment_s = 0.04
max_files = 2
"""


class StopAfter:
    """A sink that ends the pipeline after so many results."""

    pipeline: Pipeline

    def __init__(self, results: int) -> None:
        self.left = results

    def write(self, result: FrameResult) -> None:  # noqa: ARG002 (as every sink)
        self.left -= 1
        if self.left == 0:
            self.pipeline.stop()

    def event(self, event: StreamEvent) -> None:
        """Nothing to do."""

    def close(self, *, complete: bool) -> None:
        """Nothing to do."""


@pytest.mark.parametrize("sink", ["[[sink]]", "[[camera.sink]]"])
@pytest.mark.parametrize("source", ["realtime = true", "loop = true", ""])
def test_limits_of_videos_hold_or_are_refused(
    tmp_path: Path, tiny_onnx: Callable[..., Path], clips: ModuleType, sink: str, source: str
) -> None:
    tiny_onnx(tmp_path / "tiny.onnx")
    clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(6))
    config = read_cameras(write(tmp_path, ONE_VIDEO.format(source=source, sink=sink)))
    if not source:
        with (
            pytest.raises(InputError, match=r"has segment_s = 0.04, but its sources come to an"),
            open_cameras(config),
        ):
            pass
        return
    stop_after = StopAfter(12)
    with open_cameras(config, more_sinks=lambda _: [stop_after]) as pipeline:
        stop_after.pipeline = pipeline
        stats = pipeline.run(duration_s=60)
    assert not stats.failures
    assert len(list((tmp_path / "out").rglob("*.mp4"))) == 2


def refusal(folder: Path, text: str) -> InputError:
    with pytest.raises(InputError) as caught, open_cameras(read_cameras(write(folder, text))):
        pass
    assert str(caught.value).startswith(f"{folder / 'cameras.toml'}: ")
    return caught.value


def sinks(*tables: str) -> str:
    return "".join(f"[[camera.sink]]\n{table}\n" for table in tables)


CSV = 'type = "csv"\npath = "a.log"'
LINES = 'type = "jsonl"\npath = "a.log"'
POST = 'type = "webhook"\nurl = "http://127.0.0.1:9/"'


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (HEAD.replace("rtsp://door/live", "x"), f"{DOOR}: ", "such as rtsp"),
        ("loop = true", f"{DOOR}: rtsp://door/live is no file", "Leave out loop."),
        ("fps = -1.0", f"{DOOR}: fps is -1.0", None),
        (
            HEAD.replace('"door"', '"yard"'),
            "camera 'yard' (camera[0]) and camera 'yard' (camera[1]) are both called 'yard'.",
            "Give each camera a `name` of its own.",
        ),
        (
            sinks(LINES, CSV),
            f"{DOOR}, sink[0] (jsonl) and {DOOR}, sink[1] (csv) both write to a.log.",
            "another `path`",
        ),
        (
            sinks(CSV) + f"[[sink]]\n{CSV}",
            f"sink[0] (csv) and {DOOR}, sink[0] (csv) both write",
            "",
        ),
        (
            sinks('type = "csv"\npath = "door"') + '[[sink]]\ntype = "jsonl"\npath = "{stream}"',
            "sink[0] (jsonl) and camera 'door'",
            "",
        ),
        (
            sinks('type = "crops"\npath = "{frame:zz}.jpg"'),
            f"{DOOR}, sink[0] (crops): The file name",
            "",
        ),
        (sinks('type = "csv"\npath = ""'), f"{DOOR}, sink[0] (csv): ", "Add a file name"),
        (sinks(POST, 'type = "jsonl"\nkeep = 0'), f"{DOOR}, sink[1] (jsonl): max_bytes is", None),
    ],
)
def test_a_mistake_is_told_before_the_engine_is_opened_and_nothing_is_made(
    tmp_path: Path,
    text: str,
    message: str,
    hint: str | None,
) -> None:
    threads = set(threading.enumerate())
    error = refusal(tmp_path, text if text.startswith("\nengine") else HEAD + text)
    assert message in str(error)
    assert (hint or "") in (error.hint or "")
    assert [path.name for path in tmp_path.iterdir()] == ["cameras.toml"]
    assert set(threading.enumerate()) == threads


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("threads = 0", "engine: threads is 0, but must be 1 or more."),
        ("threshold = 3.0", "engine: threshold is 3.0"),
        ('backend = "onnx"', "engine: "),
        ("max_boxes = 0", "engine: max_boxes is 0"),
    ],
)
def test_options_of_the_engine_are_told_with_their_table(
    tmp_path: Path, tiny_onnx: Callable[..., Path], options: str, message: str
) -> None:
    tiny_onnx(tmp_path / "tiny.onnx")
    table = f'[engine]\npath = "tiny.onnx"\n{options}'
    error = refusal(tmp_path, HEAD.replace('engine = "tiny.onnx"', table))
    assert message in str(error)
    assert "Policy" not in (error.hint or "")


def test_a_rule_for_a_class_that_the_engine_does_not_have(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    tiny_onnx(tmp_path / "tiny.onnx", classes=("wren", "tit"))
    rule = 'type = "clips"\nrule = [{ name = "x", classes = ["tit", "wrenn"] }]'
    error = refusal(tmp_path, HEAD + sinks(rule))
    assert f"{DOOR}, sink[0] (clips): The rule 'x' is for the class 'wrenn'" in str(error)
    assert error.hint == "Did you mean 'wren'?"
    assert not (tmp_path / "out").exists()
    with open_cameras(read_cameras(write(tmp_path, HEAD + sinks(rule.replace("nn", "n"))))):
        pass


def test_a_sink_of_each_camera_may_have_the_same_template(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    tiny_onnx(tmp_path / "tiny.onnx")
    text = HEAD + '[defaults]\nsink = [{ type = "csv" }]\n[[sink]]\ntype = "jsonl"\npath = "all"'
    with open_cameras(read_cameras(write(tmp_path, text))) as pipeline:
        assert len(pipeline.stats().lanes) == 2


def test_a_source_is_looked_for_beside_the_file_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "clip.mp4").touch()
    monkeypatch.chdir(tmp_path)
    text = 'engine = "e"\n[[camera]]\nsource = "clip.mp4"\n'
    (camera,) = read_cameras(write(tmp_path / "beside", text)).cameras
    with pytest.raises(InputError, match=r"beside/clip\.mp4: no such file or folder"):
        open_stream(camera, tmp_path / "beside")
    assert open_stream(camera, tmp_path).name == "clip"


def test_errors_of_the_caller_are_not_of_the_file(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    tiny_onnx(tmp_path / "tiny.onnx")
    config = read_cameras(write(tmp_path, HEAD))
    with pytest.raises(InputError, match=r"^Mine\.$"), open_cameras(config):
        raise InputError("Mine.")
