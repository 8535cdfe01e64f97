"""`bas-edge run` that is told to end, once or more often: what was written can be used."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numbered_frames import numbered

from bas_edge.signals import SIGNALS
from bas_edge.video import VideoSource

# The copy asks for the end itself, and again while it is being closed. There it waits for the main
# thread, which used to give up: a program that ends takes such a file with it.
PROGRAM = """
import os, signal, sys, threading
from bas_edge.cli import main
from bas_edge.video import VideoSink

def write(self, *frame):
    former_write(self, *frame)
    if self.frames == 5:
        os.kill(os.getpid(), int(sys.argv[1]))

def close(self, **how):
    os.kill(os.getpid(), signal.SIGTERM)
    threading.main_thread().join(0.5)
    former_close(self, **how)

former_write, former_close = VideoSink.write, VideoSink.close
VideoSink.write, VideoSink.close = write, close
sys.exit(main(sys.argv[2:]))
"""


def told_to_end(number: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(int(number)), "run", "tiny.onnx", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def long_clip(workplace: Path, clips: ModuleType) -> Path:
    return clips.write_clip(workplace / "long.mp4", [np.zeros((48, 64, 3), np.uint8)] * 1000)


@pytest.mark.usefixtures("long_clip")
@pytest.mark.parametrize("number", SIGNALS)
def test_two_signals_leave_what_was_done_until_then(number: int) -> None:
    done = told_to_end(number, "long.mp4", "-o", "out")
    assert done.returncode == 130
    frames = len(Path("out/results.jsonl").read_text().splitlines())
    assert 5 <= frames < 1000
    assert len(list(VideoSource("out/long.partial.mp4"))) == frames
    assert (done.stdout, done.stderr) == (
        "",
        f"bas-edge: Interrupted after {frames} frames: see out/results.jsonl and "
        "out/long.partial.mp4, which plays.\n",
    )


@pytest.mark.usefixtures("long_clip")
def test_the_file_after_it_is_not_begun(workplace: Path) -> None:
    done = told_to_end(signal.SIGTERM, "long.mp4", "clip.mp4", "-o", "out", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["stream"] for line in lines[:-1]} == {"long"}
    assert lines[-1]["exit_code"] == 130
    assert sorted(path.name for path in (workplace / "out").iterdir()) == [
        "long.partial.mp4",
        "results.jsonl",
    ]


@pytest.mark.usefixtures("long_clip")
def test_a_file_beside_a_camera_that_was_stopped_is_named(rtsp: ModuleType) -> None:
    with rtsp.RtspServer(numbered(50)) as server:
        done = told_to_end(signal.SIGTERM, "long.mp4", server.url, "-o", "out")
    assert done.returncode == 7
    frames = Path("out/results.jsonl").read_text().count('"source"')
    assert len(list(VideoSource("out/long.partial.mp4"))) == frames
    assert f"long.mp4 was stopped after {frames} frames." in done.stderr


@pytest.mark.usefixtures("workplace")
def test_a_library_that_is_stopped_while_it_is_loaded_may_raise_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bas_edge.cli import main
    from bas_edge.cli.run_request import RunRequest

    def load(*_: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("cannot load module more than once per process") from None

    monkeypatch.setattr(RunRequest, "open", load)
    assert main(["run", "tiny.onnx", "clip.mp4"]) == 130
    assert capsys.readouterr().err == "bas-edge: Interrupted.\n"
    assert not Path("out").exists()
