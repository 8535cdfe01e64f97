"""`bas-edge run` on network streams: what is printed, written, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from numbered_frames import numbered
from pipeline_time import time_by_results

from bas_edge.signals import SIGNALS
from bas_edge.video import VideoSource

Invoke = Callable[..., tuple[int, list[Any], str]]
Say = Callable[..., tuple[int, str, str]]


def test_a_stream_for_a_while(
    workplace: Path, rtsp: ModuleType, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 6)
    with rtsp.RtspServer(numbered(50)) as server:
        code, out, err = say("run", "tiny.onnx", server.url, "--duration", "2", "--save")
        assert code == 0
        assert "frames localized" in out
        assert "age  p50" in out
        assert "127.0.0.1-live: connecting\n127.0.0.1-live: running: h264 128×96" in err
    lines = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    frames = [line for line in lines if "frame" in line]
    states = [line["state"] for line in lines if "event" in line]
    assert (states[:2], states[-1]) == (["connecting", "running"], "ended")
    assert len(frames) > 5
    assert all(line["age_ms"] >= 0 and line["captured_at"].endswith("Z") for line in frames)
    (video,) = workplace.glob("out/*.mp4")
    assert len(list(VideoSource(video))) == len(frames)


def test_json_and_another_file_hold_the_same(
    workplace: Path, rtsp: ModuleType, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 6)
    with rtsp.RtspServer(numbered(50)) as server:
        code, lines, _ = invoke(
            "run", "tiny.onnx", server.url, "--duration", "2", "--jsonl", "also.jsonl"
        )
    assert code == 0
    also = [json.loads(line) for line in Path("also.jsonl").read_text().splitlines()]
    assert [one for one in also if "frame" in one] == [one for one in lines if "frame" in one]
    (stream,) = lines[-1]["summary"]["streams"]
    assert stream["results"] == sum("frame" in line for line in lines)
    assert set(stream["age_ms"]) == {"p50", "p95"}
    assert not Path("out").exists()


def test_lines_of_images_and_files_go_there_too(workplace: Path, invoke: Invoke) -> None:
    Path("bad.jpg").write_bytes(b"not an image")
    words = ("run", "tiny.onnx", "photos", "bad.jpg", "clip.mp4", "--jsonl", "{stream}.jsonl")
    code, lines, _ = invoke(*words)
    assert code == 7
    also = [
        json.loads(line)
        for name in ("images", "clip")
        for line in Path(f"{name}.jsonl").read_text().splitlines()
    ]
    assert also == lines[:-2]
    assert len(also) == 3 + 5
    assert invoke(*words)[0] == 7  # appended to
    assert len(Path("images.jsonl").read_text().splitlines()) == 6


def test_a_hyphen_is_stdout_alone(workplace: Path, say: Say) -> None:
    code, out, err = say("run", "tiny.onnx", "photos", "clip.mp4", "--jsonl", "-", "-o", "out")
    assert code == 0
    assert out == Path("out/results.jsonl").read_text()
    assert err.startswith("7 frames localized")
    assert err.endswith("Written to out\n")
    assert not Path("-").exists()


def test_copies_that_are_asked_for_need_no_output(workplace: Path, invoke: Invoke) -> None:
    _, lines, _ = invoke("run", "tiny.onnx", "photos/a.jpg", "--save")
    assert lines[-1]["summary"]["output"] == "out"
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.jpg", "results.jsonl"]


def test_a_wrong_password_is_said_and_shown_nowhere(
    workplace: Path, rtsp: ModuleType, say: Say
) -> None:
    with rtsp.RtspServer(numbered(5), user="admin", password="correct-horse") as server:
        url = server.url_with("admin", "battery-staple")
        code, out, err = say("run", "tiny.onnx", url, "--jsonl", "also.jsonl")
    assert code == 9
    assert "refuses the user name or the password" in err
    everything = out + err + Path("also.jsonl").read_text()
    assert "battery" not in everything
    assert not Path("out").exists()


def test_one_of_two_streams_that_fails_is_a_partial_failure(
    workplace: Path, rtsp: ModuleType, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 1)
    with rtsp.RtspServer(numbered(50)) as server:
        missing = server.url.replace("/live", "/nothing")
        code, lines, err = invoke("run", "tiny.onnx", server.url, missing, "--duration", "3")
    assert code == 7
    assert "1 of 2 inputs could not be used in full" in err
    assert {line["stream"] for line in lines if "frame" in line} == {"127.0.0.1-live"}


@pytest.mark.parametrize("stop", SIGNALS)
def test_a_signal_is_how_it_ends_well(
    workplace: Path, rtsp: ModuleType, stop: signal.Signals
) -> None:
    command = [sys.executable, "-m", "bas_edge.cli", "run", "tiny.onnx"]
    with rtsp.RtspServer(numbered(50)) as server:
        with subprocess.Popen(
            [*command, server.url, "--json", "--save", "-o", "out"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process:
            assert process.stdout is not None
            lines = [next(process.stdout) for _ in range(10)]
            process.send_signal(stop)
            lines += process.stdout
        assert process.returncode == 0
    assert json.loads(lines[-1])["summary"]["output"] == "out"
    frames = sum('"frame"' in line for line in lines)
    (video,) = workplace.glob("out/*.mp4")
    assert len(list(VideoSource(video))) == frames


def test_a_file_played_as_a_camera_would(workplace: Path, invoke: Invoke) -> None:
    code, lines, _ = invoke("run", "tiny.onnx", "clip.mp4", "--policy", "newest")
    assert code == 0
    frames = [line for line in lines if "frame" in line]
    assert frames[-1]["frame"] == 4
    assert sum(line["dropped"] + 1 for line in frames) == 5


def test_stride_and_smoothing_of_a_file(workplace: Path, invoke: Invoke) -> None:
    _, lines, _ = invoke("run", "tiny.onnx", "clip.mp4", "--stride", "2", "--smooth", "strong")
    frames = [line for line in lines if "frame" in line]
    assert [line["frame"] for line in frames] == [0, 2, 4]
    assert [line["dropped"] for line in frames] == [0, 1, 1]
    assert all("stability" in line for line in frames[1:])


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("photos", "--policy", "wait"), "--policy is about video, but the inputs are images"),
        (("clip.mp4", "--max-fps", "0"), "--max-fps is 0, but must be a positive number"),
        (("clip.mp4", "--duration", "-1"), "--duration is -1, but must be a positive number"),
        (("gopher://host/x",), "has the scheme 'gopher', which is not known here"),
        (("csi://0?colour=1",), "has the option 'colour', which a CSI camera does not have"),
        (("clip.mp4", "--show"), "of this environment has no windows"),
    ],
)
def test_what_cannot_be_asked_for(words: tuple[str, ...], message: str, say: Say) -> None:
    code, _, err = say("run", "tiny.onnx", *words)
    assert code == 2
    assert message in err
