"""Pipelines as text, and the capture over an OpenCV that is only pretended."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bas_edge.errors import InputError, StreamConnectionError
from bas_edge.video.sources import gstreamer
from bas_edge.video.sources.gstreamer import (
    GStreamerCapture,
    csi_pipeline,
    csi_pipeline_of,
    rtsp_pipeline,
)

SINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"


class FakeVideo:
    """`cv2.VideoCapture`: a few BGR frames [2, 2, 3], whose blue counts them."""

    def __init__(self, frames: int, fps: float, opens: bool) -> None:
        self.frames, self.fps, self.opens = frames, fps, opens
        self.read_so_far = 0
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802  (its name there)
        return self.opens

    def get(self, which: int) -> float:
        assert which == 5
        return self.fps

    def read(self) -> tuple[bool, Any]:
        if self.read_so_far == self.frames:
            return False, None
        self.read_so_far += 1
        return True, np.full((2, 2, 3), (self.read_so_far, 0, 100), np.uint8)

    def release(self) -> None:
        self.released = True


def pretend(
    monkeypatch: pytest.MonkeyPatch,
    *,
    built: str = "YES (1.20.3)",
    frames: int = 3,
    fps: float = 30.0,
    opens: bool = True,
) -> tuple[FakeVideo, list[Any]]:
    """Put such a cv2 in place; gives its video, and what it is opened with."""
    video, asked = FakeVideo(frames, fps, opens), []

    def open_video(*arguments: Any) -> FakeVideo:
        asked.append(arguments)
        return video

    cv2 = SimpleNamespace(
        __version__="4.10.0",
        CAP_GSTREAMER=1800,
        CAP_PROP_FPS=5,
        VideoCapture=open_video,
        getBuildInformation=lambda: f"  Video I/O:\n    GStreamer:      {built}\n    v4l: YES\n",
    )
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    return video, asked


def test_csi_pipeline() -> None:
    assert csi_pipeline(1, width=1920, height=1080, fps=60, flip=2) == (
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1 ! "
        f"nvvidconv flip-method=2 ! video/x-raw,format=BGRx ! {SINK}"
    )
    assert csi_pipeline_of("csi://1?width=1920&height=1080&fps=60&flip=2") == csi_pipeline(
        1, width=1920, height=1080, fps=60, flip=2
    )
    assert csi_pipeline_of("csi://") == csi_pipeline()


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_rtsp_pipeline(codec: str) -> None:
    assert rtsp_pipeline("rtsp://me:pw@h/live", codec=codec, latency_ms=50) == (
        'rtspsrc location="rtsp://me:pw@h/live" protocols=tcp latency=50 drop-on-latency=true ! '
        f"rtp{codec}depay ! {codec}parse ! nvv4l2decoder ! nvvidconv ! "
        f"video/x-raw,format=BGRx ! {SINK}"
    )


@pytest.mark.parametrize("name", ["sensor", "width", "height", "fps", "flip"])
def test_numbers_out_of_range(name: str) -> None:
    with pytest.raises(InputError, match=f"^{name} is -1, but must be"):
        csi_pipeline(**{name: -1})


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("csi://0?exposure=3", r"csi://0\?exposure=3 has the option 'exposure'"),
        ("csi://left", r"sensor is 'left', but must be a number"),
        ("csi://0?fps=fast", r"fps is 'fast', but must be a number"),
        ("csi://99", r"sensor is 99, but must be 0 to 15"),
    ],
)
def test_csi_addresses_that_are_wrong(uri: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        csi_pipeline_of(uri)


@pytest.mark.parametrize(
    "uri", ['rtsp://me:hunter2@h/a" ! fakesink', "rtsp://me:hunter2@h/\\", "http://me:hunter2@h/"]
)
def test_what_would_leave_the_quotes_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match="is no RTSP address") as caught:
        rtsp_pipeline(uri)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InputError, match="codec is 'vp8'"):
        rtsp_pipeline("rtsp://h/", codec="vp8")


def test_frames_are_rgb_and_end_with_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    video, asked = pretend(monkeypatch)
    capture = GStreamerCapture("videotestsrc ! videoconvert ! appsink")
    assert asked == [("videotestsrc ! videoconvert ! appsink", 1800)]
    assert (capture.fps, capture.damage, capture.details) == (30.0, None, "GStreamer pipeline")
    pictures = [one for one in capture if hasattr(one, "pixels")]
    assert [one.pixels()[0, 0].tolist() for one in pictures] == [[100, 0, n] for n in (1, 2, 3)]
    times = [one.time_s or 0.0 for one in pictures]
    assert times[0] == 0
    assert times == sorted(times)
    capture.close()
    assert video.released


def test_the_clock_of_the_day_moves_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    ticks, days = iter([5.0, 5.5, 6.0]), iter([100.0, 3700.0, 50.0])
    clock = SimpleNamespace(monotonic=lambda: next(ticks), time=lambda: next(days))
    monkeypatch.setattr(gstreamer, "time", clock)
    pictures = [one for one in GStreamerCapture("videotestsrc ! appsink") if hasattr(one, "pixels")]
    assert [(one.time_s, one.captured_at) for one in pictures] == [(0, 100), (0.5, 3700), (1, 50)]


def test_a_pipeline_without_a_sink_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _, asked = pretend(monkeypatch, fps=0.0)
    assert GStreamerCapture("videotestsrc ! queue").fps is None
    assert asked == [(f"videotestsrc ! queue ! {SINK}", 1800)]


def test_a_pipeline_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    video, _ = pretend(monkeypatch, opens=False)
    with pytest.raises(StreamConnectionError, match="does not start: rtspsrc") as caught:
        GStreamerCapture("rtspsrc location=rtsp://me:hunter2@h/ user-pw=hunter2 ! appsink")
    assert "hunter2" not in str(caught.value)
    assert video.released


def test_an_opencv_without_gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, built="NO")
    with pytest.raises(InputError, match=r"OpenCV 4.10.0 of this environment was built without"):
        GStreamerCapture("videotestsrc ! appsink")


def test_the_opencv_of_a_wheel_has_none() -> None:
    pytest.importorskip("cv2")
    with pytest.raises(InputError, match="was built without GStreamer"):
        GStreamerCapture("videotestsrc ! appsink")


def test_an_element_that_is_not_there_is_named_before_opencv_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, asked = pretend(monkeypatch)
    inspect = tmp_path / "gst-inspect-1.0"
    inspect.write_text('#!/bin/sh\ncase "$2" in nv*) exit 1;; *) exit 0;; esac\n')
    inspect.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(InputError, match="has no element 'nvarguscamerasrc' on this machine"):
        GStreamerCapture(csi_pipeline(0))
    assert not asked
    GStreamerCapture("videotestsrc ! video/x-raw,width=64 ! t. ! queue")
    assert len(asked) == 1


def test_a_password_is_no_element(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch)
    inspect, asked = tmp_path / "gst-inspect-1.0", tmp_path / "asked"
    inspect.write_text(f'#!/bin/sh\necho "$2" >> "{asked}"\n')
    inspect.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    GStreamerCapture(
        "rtspsrc location=rtsp://h user-pw=pa!hunter latency=0 ! queue name='a\\'! hunter b' !\n"
        'souphttpsrc user-pw="x ! hunter \\" ! hunter y" ! appsink'
    )
    assert asked.read_text().split() == ["rtspsrc", "queue", "souphttpsrc", "appsink"]


def test_a_lossless_pipeline_holds_back(monkeypatch: pytest.MonkeyPatch) -> None:
    _, asked = pretend(monkeypatch)
    GStreamerCapture("videotestsrc ! queue", lossless=True)
    assert asked[0][0].endswith("format=BGR ! appsink drop=false max-buffers=3 sync=false")
