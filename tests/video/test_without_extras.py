"""`bas_edge.video` on a machine that has only what bas-edge itself needs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bas_edge.errors import MissingExtraError
from bas_edge.video.sinks.window import Window
from bas_edge.video.sources.gstreamer import GStreamerCapture

CODE = """
import json, sys

for module in ("av", "paho", "urllib3"):
    sys.modules[module] = None  # as if it were not installed
sys.path.insert(0, sys.argv[2])

from stream_results import ended, result

from bas_edge.errors import MissingExtraError
from bas_edge.video import AnnotatedVideo, Clips, Crops, Csv, EventRule, JsonLines, Mqtt, Webhook

folder = sys.argv[1]
hints = {}
for make in (
    lambda: AnnotatedVideo(f"{folder}/a.mp4"),
    lambda: Clips(f"{folder}/{{time}}.mp4", [EventRule("any")]),
    lambda: Mqtt("localhost"),
    lambda: Webhook("http://localhost"),
):
    try:
        make()
    except MissingExtraError as error:
        hints[error.module] = error.hint
sinks = [JsonLines(f"{folder}/a.jsonl"), Csv(f"{folder}/a.csv")]
for sink in (*sinks, Crops(f"{folder}/{{frame}}.jpg")):
    sink.write(result())
    sink.event(ended())
    sink.close(complete=True)
print(json.dumps(hints))
"""


def test_what_needs_no_extra_works_and_the_rest_names_its_own(tmp_path: Path) -> None:
    tests = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-c", CODE, str(tmp_path), str(tests)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tests.parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "av": "pip install 'bas-edge[video]'",
        "paho.mqtt.client": "pip install 'bas-edge[mqtt]'",
        "urllib3": "pip install 'bas-edge[webhook]'",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.jpg", "a.csv", "a.jsonl"]


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (Window, "pip install opencv-python, without -headless"),
        (lambda: GStreamerCapture("videotestsrc ! appsink"), "of the Linux distribution"),
    ],
)
def test_which_opencv_is_needed(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], object], hint: str
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match="needs the module 'cv2'") as raised:
        make()
    assert hint in str(raised.value.hint)
