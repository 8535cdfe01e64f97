"""One function opens each kind of source, and says what is wrong before anything is read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from scripted_source import PATIENCE_S

from bas_edge.errors import (
    InputError,
    StreamConnectionError,
    StreamNotFoundError,
    StreamTimeoutError,
)
from bas_edge.video import LiveOptions, Reconnect, Stream, VideoSource, open_source
from bas_edge.video.sources import local_captures
from bas_edge.video.sources.live_capture import LiveCapture

ONCE = Reconnect(attempts=0)
FASTSTART = {"movflags": "faststart"}


@pytest.fixture
def clip(clips: ModuleType, tmp_path: Path) -> Path:
    path: Path = clips.write_clip(tmp_path / "birds.mp4", clips.noise_frames(12))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        pixels = np.full((8, 10, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("form", ["path", "text", "address"])
def test_a_file(clip: Path, form: str) -> None:
    source = {"path": clip, "text": str(clip), "address": f"file://{clip}"}[form]
    with open_source(source) as stream:
        frames = list(stream)
    assert [frame.index for frame in frames] == list(range(12))
    assert (stream.name, stream.policy, stream.live) == ("birds", "wait", False)
    assert (stream.fps, stream.frame_count) == (25.0, 12)
    assert stream.stats().details == "video file, 64×48"
    assert stream.damage is None


@pytest.mark.parametrize("name", ["wow ! cat.mp4", "7"])
def test_a_file_that_is_called_like_a_camera(
    clip: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clip.parent)
    clip.rename(name)
    for stream in (open_source(name), open_source(VideoSource(name))):
        assert (stream.live, stream.policy) == (False, "wait")
        assert len(list(stream)) == 12


def test_a_cut_file_says_what_is_missing(clips: ModuleType, tmp_path: Path) -> None:
    whole = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(50), options=FASTSTART)
    stream = open_source(clips.cut(whole, 0.5))
    assert 15 < len(list(stream)) < 40
    assert "ends in the middle" in (stream.damage or "")
    assert stream.stats().reason == stream.damage


def test_a_folder_in_the_order_of_names(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"no image")
    stream = open_source(folder, fps=10)
    frames = list(stream)
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [0, 40, 120]
    assert [frame.index for frame in frames] == [0, 1, 3]
    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.1, 0.3])
    assert frames[2].dropped == 1
    assert stream.damage == f"{folder / '2.png'} could not be read."
    assert stream.frame_count == 4


def test_a_program(folder: Path) -> None:
    closed: list[bool] = []

    def made() -> Iterator[np.ndarray]:
        try:
            for number in range(5):
                yield np.full((4, 6, 3), (number, 0, 99), np.uint8)
        finally:
            closed.append(True)

    stream = open_source(made(), name="mine", color="bgr")
    assert [frame.pixels[0, 0].tolist() for frame in stream] == [[99, 0, n] for n in range(5)]
    assert (stream.name, stream.uri, stream.live) == ("mine", "frames of a program", False)
    endless = open_source(made())
    with endless:
        assert endless.take(PATIENCE_S) is not None
    assert closed == [True, True]


def test_the_clock_of_the_day_moves_no_time_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, days = iter([5.0, 5.5, 6.0]), iter([100.0, 3700.0, 50.0])
    clock = SimpleNamespace(monotonic=lambda: next(ticks), time=lambda: next(days))
    monkeypatch.setattr(local_captures, "time", clock)
    frames = list(open_source(list(np.zeros((3, 4, 4, 3), np.uint8))))
    assert [(one.time_s, one.captured_at) for one in frames] == [(0, 100), (0.5, 3700), (1, 50)]


def test_a_program_that_gives_something_else() -> None:
    with pytest.raises(InputError, match=r"Frame 1 is None; it must be a uint8 array"):
        list(open_source([np.zeros((4, 4, 3), np.uint8), None]))  # what is to be refused


def test_a_file_behind_http_ends_and_is_not_begun_again(clip: Path, mjpeg: ModuleType) -> None:
    content = clip.read_bytes()
    head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    with mjpeg.RudeServer(head + content) as server:
        stream = open_source(
            f"http://127.0.0.1:{server.port}/birds.mp4",
            policy="wait",
            reconnect=ONCE,
            live=LiveOptions(hardware="off"),
        )
        assert len(list(stream)) == 12
    assert stream.stats().connections == 1
    assert stream.stats().reason == "the source has come to its end"


class _BreaksOff(BaseHTTPRequestHandler):
    """Sends the first half of a file and hangs up; of `Range` what was asked for, if it may."""

    content = b""
    asked: list[str]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "bytes=0-")
        self.asked.append(wanted)
        start = int(wanted[6:].partition("-")[0])
        self.send_response(206)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(self.content) - start))
        last = len(self.content) - 1
        self.send_header("Content-Range", f"bytes {start}-{last}/{len(self.content)}")
        self.end_headers()
        end = len(self.content) // 2 if start == 0 else len(self.content)
        self.wfile.write(self.content[start:end])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name there)
        pass


def test_the_rest_of_a_file_behind_http_is_asked_for_where_its_connection_breaks(
    clips: ModuleType, tmp_path: Path
) -> None:
    path = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(60), options=FASTSTART)
    asked: list[str] = []
    handler = type("Handler", (_BreaksOff,), {"content": path.read_bytes(), "asked": asked})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/a.mp4"
        stream = open_source(url, policy="wait", reconnect=ONCE)
        try:
            frames = list(stream)
        finally:
            server.shutdown()
            thread.join()
    assert [frame.index for frame in frames] == list(range(60))
    assert stream.stats().connections == 1
    assert asked == ["bytes=0-", f"bytes={path.stat().st_size // 2}-"]


def test_a_file_behind_http_that_cannot_be_had_whole_ends_and_is_not_begun_again(
    clips: ModuleType, tmp_path: Path, mjpeg: ModuleType
) -> None:
    path = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(60), options=FASTSTART)
    content = path.read_bytes()
    head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    seen: list[int] = []
    with mjpeg.RudeServer(head + content[: len(content) // 2]) as server:
        stream = open_source(
            f"http://127.0.0.1:{server.port}/a.mp4",
            policy="wait",
            reconnect=Reconnect(first_s=0, longest_s=0, attempts=1),
            live=LiveOptions(hardware="off", silence_s=0.5),
        )
        with pytest.raises(StreamTimeoutError):
            seen.extend(frame.index for frame in stream)
    assert 15 < len(seen) < 60
    assert stream.stats().connections == 1


@pytest.mark.parametrize(
    ("uri", "name", "opened"),
    [
        ("0", "video0", ("/dev/video0", "v4l2", {})),
        (0, "video0", ("/dev/video0", "v4l2", {})),
        ("/dev/video3", "video3", ("/dev/video3", "v4l2", {})),
        (
            "v4l2:///dev/video1?video_size=1280x720&framerate=30",
            "video1",
            ("/dev/video1", "v4l2", {"video_size": "1280x720", "framerate": "30"}),
        ),
        (
            "rtsp://me:pw@cam/live",
            "cam-live",
            (
                "rtsp://me:pw@cam/live",
                None,
                {"fflags": "nobuffer", "rtsp_transport": "udp", "allowed_media_types": "video"},
            ),
        ),
        (
            "http://cam/live.mjpg",
            "cam-live.mjpg",
            ("http://cam/live.mjpg", None, {"reconnect": "1"}),
        ),
    ],
)
def test_what_ffmpeg_is_asked_to_open(
    monkeypatch: pytest.MonkeyPatch, uri: str | int, name: str, opened: tuple[Any, ...]
) -> None:
    asked: list[tuple[Any, ...]] = []

    def pretended(address: str, *, format: str | None, options: Any, **more: Any) -> None:  # noqa: A002  (its name there)
        asked.append((address, format, options))
        assert more["timeout"] == (3.0, 4.0)
        raise av.error.FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(av, "open", pretended)
    live = LiveOptions(connect_s=3.0, silence_s=4.0, transport="udp", hardware="off")
    stream = open_source(uri, live=live)
    assert (stream.name, stream.policy, stream.live) == (name, "newest", True)
    with pytest.raises(StreamNotFoundError):
        list(stream)
    assert asked == [opened]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (av.error.PermissionError(13, "Permission denied"), "may not be opened by this user"),
        (av.error.OSError(16, "Device or resource busy"), "is in use by another program"),
        (av.error.OSError(19, "No such device"), "cannot be read: No such device"),
        (av.error.OSError(113, "No route to host"), "there is no way to this host"),
        (av.error.EOFError(541478725, "End of file"), "was closed from the other side"),
    ],
)
def test_errors_of_a_device(
    monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def pretended(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(av, "open", pretended)
    with pytest.raises(StreamConnectionError, match=sentence):
        list(open_source("/dev/video0", reconnect=ONCE, live=LiveOptions(hardware="off")))


def test_a_pyav_without_v4l2(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretended(*_: Any, **__: Any) -> None:
        raise ValueError("no container format 'v4l2'")

    monkeypatch.setattr(av, "open", pretended)
    with pytest.raises(InputError, match="cannot read /dev/video0: it knows no v4l2"):
        LiveCapture("/dev/video0", LiveOptions(hardware="off"))


@pytest.mark.parametrize(
    ("source", "options", "sentence"),
    [
        ("nothing.mp4", {}, "nothing.mp4: no such file or folder"),
        ("gopher://h/", {}, "has the scheme 'gopher', which is not known here"),
        ("csi://0?exposure=1", {}, "has the option 'exposure'"),
        (np.zeros((4, 4, 3), np.uint8), {}, "not a ndarray"),
        (b"clip.mp4", {}, "not a bytes"),
        (5.0, {}, "not a float"),
        ("", {}, "The source is empty."),
        ("rtsp://me:hunter2@h/", {"loop": True}, r"rtsp://\*\*\*@h/ is no file"),
        ([], {"loop": True}, "frames of a program is no file"),
        ("rtsp://h/", {"realtime": True}, "comes at its own speed already"),
        ("rtsp://h/", {"policy": "latest"}, "policy is 'latest'"),
        ("rtsp://h/", {"stride": 0}, "stride is 0"),
        ("rtsp://h/", {"depth": 0}, "depth is 0 frames"),
        ("rtsp://h/", {"depth": 2.5}, "depth is 2.5 frames, but must be a whole number"),
        ("rtsp://h/", {"stride": 1.5}, "stride is 1.5, but must be a whole number"),
        ("rtsp://h/", {"live": 5}, "5 was given where open_source takes LiveOptions"),
        ("rtsp://h/", {"reconnect": True}, "True was given where open_source takes Reconnect"),
        ("rtsp://h/", {"max_fps": -1.0}, "max_fps is -1.0"),
        ("rtsp://h/", {"stall_s": 0.0}, "stall_s is 0.0"),
        ("rtsp://h/", {"fps": 0.0}, "fps is 0.0"),
    ],
)
def test_what_is_wrong_is_said_at_once(source: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        open_source(source, **options)


def test_the_policy_of_a_file_decides_how_it_plays(clip: Path) -> None:
    assert not open_source(clip).options.realtime
    assert open_source(clip, policy="newest").options.realtime
    assert not open_source(clip, policy="newest", realtime=False).options.realtime
    assert isinstance(open_source(clip, loop=True), Stream)
