"""`bas-edge run` whose output cannot be written: it is said at once, counted, and a failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from full_disk import full_disk
from numbered_frames import numbered
from pipeline_time import time_by_results

Say = Callable[..., tuple[int, str, str]]

FULL = "Cannot write out/results.jsonl: File too large."


@pytest.mark.usefixtures("workplace")
def test_a_camera_outlives_a_full_disk(
    rtsp: ModuleType, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 30)  # more lines than there is room for
    with rtsp.RtspServer(numbered(50)) as server, full_disk(2000):
        code, out, err = say("run", "tiny.onnx", server.url, "-o", "out", "--duration", "3")
    assert code == 1
    lines = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    written = sum("frame" in line for line in lines)
    localized = int(out.split(maxsplit=1)[0])
    assert 0 < written < localized
    assert err.count(FULL) >= 2
    assert err.index(FULL) < err.index("127.0.0.1-live: ended")  # said when it came
    end = f"{localized - written} results could not be written: {FULL}"
    assert f"bas-edge: {end}\n  hint: Check the folder" in err


@pytest.mark.usefixtures("workplace")
def test_one_output_that_fails_leaves_the_other_whole(
    rtsp: ModuleType, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 6)
    Path("mine.txt").write_text("mine")
    with rtsp.RtspServer(numbered(50)) as server:
        words = ("run", "tiny.onnx", server.url, "--jsonl", "mine.txt", "-o", "out")
        code, out, err = say(*words, "--duration", "2")
    assert code == 1
    localized = int(out.split(maxsplit=1)[0])
    assert Path("out/results.jsonl").read_text().count('"frame"') == localized > 0
    sentence = "mine.txt exists and holds something else than lines of JSON."
    assert err.count(sentence) == 2  # at once, and at the end
    assert f"bas-edge: {localized} results could not be written: {sentence}" in err
    assert Path("mine.txt").read_text() == "mine"


@pytest.mark.usefixtures("workplace")
def test_a_video_ends_where_the_disk_is_full(clips: ModuleType, say: Say) -> None:
    clips.write_clip(Path("long.mp4"), [np.zeros((48, 64, 3), np.uint8)] * 200)
    with full_disk(2000):
        code, out, err = say("run", "tiny.onnx", "long.mp4", "-o", "out", "--no-save")
    assert (code, out) == (1, "")
    assert err.startswith(f"bas-edge: {FULL}\n")
    lines = Path("out/results.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(len(lines)))


@pytest.mark.skipif(sys.platform == "win32", reason="a reader that ends is told otherwise there")
@pytest.mark.parametrize("kind", ["camera", "file"])
def test_a_reader_that_ends_is_the_end_of_the_run(
    workplace: Path, rtsp: ModuleType, clips: ModuleType, kind: str
) -> None:
    clips.write_clip(Path("long.mp4"), [np.zeros((48, 64, 3), np.uint8)] * 2000)
    with rtsp.RtspServer(numbered(50)) as server:
        source = server.url if kind == "camera" else "long.mp4"
        command = [sys.executable, "-m", "bas_edge.cli", "run", "tiny.onnx", source, "--json"]
        read, write = os.pipe()
        with (
            os.fdopen(read) as lines,
            subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE) as process,
        ):
            os.close(write)
            assert "stream" in json.loads(next(lines))
            lines.close()
            assert process.stderr is not None
            said = process.stderr.read().decode()
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "Broken pipe" not in said
