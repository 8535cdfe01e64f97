"""`bas-edge run` on files and cameras together: each as if it were alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from numbered_frames import numbered
from pipeline_time import time_by_results

from bas_edge.video import Pipeline, Sink, Smoothing, Stream, VideoSource

Invoke = Callable[..., tuple[int, list[Any], str]]
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of a camera that is not there."""
    with socket.socket() as held:  # bound but not listening: refused at once
        held.bind(("127.0.0.1", 0))
        yield f"rtsp://127.0.0.1:{held.getsockname()[1]}/live"


def test_a_file_beside_a_camera_is_still_a_file(
    workplace: Path, rtsp: ModuleType, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 6)
    how: dict[str, tuple[str, Smoothing]] = {}

    def add(self: Pipeline, stream: Stream, *, sinks: list[Sink], smooth: Smoothing) -> None:
        how[stream.name] = stream.policy, smooth
        former_add(self, stream, sinks=sinks, smooth=smooth)

    former_add = Pipeline.add
    monkeypatch.setattr(Pipeline, "add", add)
    with rtsp.RtspServer(numbered(50)) as server:
        code, lines, _ = invoke(
            *("run", "tiny.onnx", "clip.mp4", "photos/a.jpg", server.url),
            *("--duration", "2", "-o", "out"),
        )
    assert code == 0
    summary = lines.pop()["summary"]
    frames = [line for line in lines if line.get("source") == "clip.mp4"]
    assert [line["frame"] for line in frames] == list(range(5))
    assert all(line["annotated"] == "out/clip.mp4" for line in frames)
    assert how == {
        "clip": ("wait", Smoothing.named("off")),
        "127.0.0.1-live": ("newest", Smoothing.named("light")),
    }
    assert lines[0]["source"] == "photos/a.jpg"
    of_camera = [line for line in lines if line.get("stream") == "127.0.0.1-live"]
    assert of_camera[0]["state"] == "connecting"
    assert not any("source" in line or "annotated" in line for line in of_camera)
    assert len(lines) == 1 + len(frames) + len(of_camera)
    assert [one["source"] for one in summary["videos"]] == ["clip.mp4"]
    assert [one["stream"] for one in summary["streams"]] == ["127.0.0.1-live"]
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "a.jpg",
        "clip.mp4",
        "results.jsonl",
    ]
    assert len(list(VideoSource("out/clip.mp4"))) == 5


def test_the_duration_of_a_file_is_its_own(
    workplace: Path, rtsp: ModuleType, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 6)
    code, lines, _ = invoke("run", "tiny.onnx", "clip.mp4", "--duration", "0.1", "-o", "out")
    assert code == 0
    assert [line["time_s"] for line in lines[:-1]] == [0.0, 0.04, 0.08]
    assert lines[-1]["summary"]["videos"][0]["expected_frames"] == 3
    assert len(list(VideoSource("out/clip.mp4"))) == 3
    with rtsp.RtspServer(numbered(50)) as server:
        code, lines, _ = invoke("run", "tiny.onnx", "clip.mp4", server.url, "--duration", "2.02")
    assert code == 0
    assert sum(line.get("source") == "clip.mp4" for line in lines) == 5
    assert lines[-1]["summary"]["streams"][0]["results"] > 5


def test_cameras_of_one_name_are_told_apart_in_all_their_lines(
    workplace: Path, rtsp: ModuleType, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 6)
    with rtsp.RtspServer(numbered(50)) as one, rtsp.RtspServer(numbered(50)) as other:
        code, lines, err = invoke("run", "tiny.onnx", one.url, other.url, "--duration", "2")
    assert code == 0
    names = ("127.0.0.1-live", "127.0.0.1-live-2")
    for name in names:
        own = [line for line in lines if line.get("stream") == name]
        assert [line["state"] for line in own if "state" in line] == [
            "connecting",
            "running",
            "ended",
        ]
        assert any("frame" in line for line in own)
        assert f"{name}: running" in err


def test_a_camera_that_is_given_twice_is_said(workplace: Path, nobody: str, say: Say) -> None:
    url = nobody.replace("//", "//me:secret@")
    _, _, err = say("run", "tiny.onnx", url, url, "--duration", "0.1")
    assert f"note: {nobody.replace('//', '//***@')} was given twice and is read once.\n" in err
    assert "secret" not in err


def test_a_camera_that_was_never_there_is_a_failure(
    workplace: Path, nobody: str, rtsp: ModuleType, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 6)
    code, out, err = say("run", "tiny.onnx", nobody, "--duration", "1")
    assert (code, out) == (9, "\n127.0.0.1-live: nothing localized\n")
    assert "bas-edge: " in err
    assert "refused" in err.lower()
    assert say("run", "tiny.onnx", nobody, nobody + "2", "--duration", "0.5")[0] == 9
    assert not Path("out").exists()
    with rtsp.RtspServer(numbered(50), path="there") as server:
        code, out, err = say("run", "tiny.onnx", server.url, nobody, "--duration", "2")
    assert code == 7
    assert "127.0.0.1-live: nothing localized" in out
    assert "1 of 2 inputs could not be used in full: rtsp://127.0.0.1:" in err


def test_why_the_only_camera_ended_is_said_once(
    workplace: Path, rtsp: ModuleType, say: Say
) -> None:
    with rtsp.RtspServer(numbered(5), user="admin", password="correct-horse") as server:
        _, out, err = say("run", "tiny.onnx", server.url_with("admin", "wrong"))
    assert out == "\n127.0.0.1-live: nothing localized\n"
    assert err.count("refuses the user name or the password") == 1
    assert "127.0.0.1-live: ended\n" in err
    assert not Path("out").exists()


def test_a_video_that_cannot_be_opened_leaves_the_camera_alone(
    workplace: Path, rtsp: ModuleType, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 6)
    Path("broken.mp4").write_text("no video at all")
    with rtsp.RtspServer(numbered(50)) as server:
        code, out, err = say("run", "tiny.onnx", "broken.mp4", server.url, "--duration", "2")
    assert code == 7
    assert "1 of 2 inputs could not be used in full: broken.mp4 cannot be opened" in err
    assert "127.0.0.1-live: " in out
