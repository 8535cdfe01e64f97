"""Cameras that misbehave: every frame is a true one, and what went wrong is said exactly."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from numbered_frames import frame_number, numbered, picture, psnr
from scripted_source import PATIENCE_S, reading_threads, until

from bas_edge.errors import (
    InputError,
    StreamAuthenticationError,
    StreamCodecError,
    StreamConnectionError,
    StreamError,
    StreamNotFoundError,
    StreamTimeoutError,
)
from bas_edge.video import LiveOptions, Reconnect, Stream, StreamEvent, VideoFrame, open_source
from bas_edge.video.sources.decoding import Decoding

QUICK = (("analyzeduration", "100000"), ("fpsprobesize", "0"))
ONCE = Reconnect(attempts=0)
SOON = Reconnect(first_s=0.01, longest_s=0.1)
LOOP = 100
# What coding costs these frames leaves more than 28 dB (numbered_frames.psnr); a copy of the
# frame before has 24 dB or less.
TRUE_DB = 28


def watched(url: str, reconnect: Reconnect = SOON, **live: Any) -> tuple[Stream, list[StreamEvent]]:
    options = {"connect_s": 10.0, "silence_s": 10.0, "hardware": "off", "options": QUICK, **live}
    stream = open_source(
        url, policy="wait", depth=20, live=LiveOptions(**options), reconnect=reconnect
    )
    events: list[StreamEvent] = []
    stream.listen(events.append)
    return stream, events


def frame_of(stream: Stream) -> VideoFrame:
    frame = stream.take(PATIENCE_S)
    assert frame is not None, stream.stats().reason
    return frame


def after_gap(stream: Stream) -> VideoFrame:
    """The first frame after a lost connection; what still waits from before is passed over."""
    for _ in range(100):
        if (frame := frame_of(stream)).gap_s:
            return frame
    raise AssertionError("there was no gap")


def emptied_until(stream: Stream, state: str) -> None:
    """Take what comes until the stream is in this state."""

    def reached() -> bool:
        stream.watch()
        stream.take()
        return stream.state == state

    until(reached)


def number_of_true(frame: VideoFrame) -> int:
    """The number of a frame, which is the true picture of it."""
    number = frame_number(frame.pixels)
    assert number is not None
    assert psnr(frame.pixels, picture(number, frame.pixels.shape[:2])) > TRUE_DB
    return number


@pytest.fixture
def camera(rtsp: ModuleType) -> Iterator[Any]:
    with rtsp.RtspServer(numbered(LOOP), fps=100) as server:
        yield server


@pytest.fixture
def jpegs(mjpeg: ModuleType) -> Iterator[Any]:
    with mjpeg.MjpegServer(numbered(LOOP), fps=50) as server:
        yield server


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_every_frame_in_order_and_none_invented(camera: Any, transport: str) -> None:
    stream, events = watched(camera.url, transport=transport)
    with stream:
        frames = [frame_of(stream) for _ in range(40)]
    first = number_of_true(frames[0])
    assert [number_of_true(frame) for frame in frames] == [(first + n) % LOOP for n in range(40)]
    assert [frame.index for frame in frames] == list(range(40))
    assert all(np.diff([frame.time_s for frame in frames]) > 0)
    assert events[1].reason == "h264 128×96, decoded in software"
    assert stream.stats().damaged == 0
    assert not reading_threads()


def test_jpegs_over_http(jpegs: Any) -> None:
    stream, events = watched(jpegs.url)
    with stream:
        numbers = [number_of_true(frame_of(stream)) for _ in range(10)]
    assert numbers == [(numbers[0] + n) % LOOP for n in range(10)]
    assert events[1].reason == "mjpeg 128×96, decoded in software"


@pytest.mark.parametrize("name", ["camera", "jpegs"])
def test_killed_and_restarted_it_comes_back(name: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(name)
    stream, events = watched(server.url)
    with stream:
        frames = [frame_of(stream) for _ in range(5)]
        server.kill()
        until(lambda: stream.state == "reconnecting")
        until(lambda: stream.stats().failures >= 3)
        server.restart()
        while not frames[-1].gap_s and len(frames) < 100:
            frames.append(frame_of(stream))
        frames += [frame_of(stream) for _ in range(5)]
    for frame in frames:
        number_of_true(frame)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(frame.dropped == 0 for frame in frames)
    assert sum(frame.gap_s > 0 for frame in frames) == 1
    assert all(np.diff([frame.time_s for frame in frames]) > 0)
    assert stream.stats().connections == 2
    states = [event.state for event in events]
    assert states == [
        "connecting",
        "running",
        *(["reconnecting"] * (len(states) - 4)),
        "running",
        "ended",
    ]
    assert {type(event.error) for event in events if event.state == "reconnecting"} <= {
        StreamConnectionError
    }


def test_five_restarts_leave_no_thread_and_no_descriptor(camera: Any) -> None:
    stream, _ = watched(camera.url)
    with stream:
        frame_of(stream)
        descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (a count is all)
        threads = set(threading.enumerate())
        for _ in range(5):
            camera.kill()
            until(lambda: stream.state == "reconnecting")
            camera.restart()
            after_gap(stream)
        assert set(threading.enumerate()) <= threads
        assert len(os.listdir("/proc/self/fd")) <= descriptors  # noqa: PTH208  (a count is all)
    assert not reading_threads()


def test_a_stall_that_ends(camera: Any) -> None:
    stream = open_source(
        camera.url, policy="wait", stall_s=0.2, live=LiveOptions(hardware="off", options=QUICK)
    )
    events: list[StreamEvent] = []
    stream.listen(events.append)
    with stream:
        frame_of(stream)
        camera.stall()
        emptied_until(stream, "stalled")
        camera.resume()
        frame = frame_of(stream)
        until(lambda: "running" in [event.state for event in events[3:]])
    assert frame.gap_s == 0
    assert [event.state for event in events[:4]] == ["connecting", "running", "stalled", "running"]


def test_a_stall_that_does_not_end_is_a_lost_connection(camera: Any) -> None:
    stream, events = watched(camera.url, silence_s=0.6)
    with stream:
        number_of_true(frame_of(stream))
        camera.stall()
        emptied_until(stream, "reconnecting")
        camera.resume()
        frame = after_gap(stream)
    assert frame.gap_s > 0.5
    lost = next(event for event in events if event.state == "reconnecting")
    assert isinstance(lost.error, StreamTimeoutError)
    assert "was silent for too long." in lost.reason


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("mode", ["flip", "drop"])
def test_after_damage_only_true_frames(camera: Any, mode: str, transport: str) -> None:
    stream, events = watched(camera.url, transport=transport)
    with stream:
        frames = [frame_of(stream)]
        for burst in (1, 2, 5):
            camera.corrupt(packets=burst, mode=mode)
            frames += [frame_of(stream) for _ in range(30)]
    assert camera.damaged == 8
    numbers = [number_of_true(frame) for frame in frames]
    steps = np.diff(numbers) % LOOP
    assert steps.max() > 1  # some are missing
    assert 0 not in steps  # none came twice
    damaged = stream.stats().damaged
    assert damaged > 0
    assert stream.damage == f"{damaged} damaged frames left out."
    assert 0 < sum(frame.dropped for frame in frames) <= damaged
    assert [event.state for event in events] == ["connecting", "running", "ended"]


def test_another_size_in_mid_stream(camera: Any) -> None:
    stream, events = watched(camera.url)
    with stream:
        frames = [frame_of(stream)]
        camera.change_size(numbered(50, size=(128, 192), first=1000))
        while frames[-1].pixels.shape != (128, 192, 3) and len(frames) < 100:
            frames.append(frame_of(stream))
        frames += [frame_of(stream) for _ in range(5)]
    numbers = [number_of_true(frame) for frame in frames]
    assert numbers[-6:] == list(range(1000, 1006))
    assert {frame.pixels.shape for frame in frames} == {(96, 128, 3), (128, 192, 3)}
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert len(events) == 3


@pytest.mark.parametrize("kind", ["rtsp", "mjpeg"])
def test_a_wrong_password_is_named_and_never_shown(
    kind: str, rtsp: ModuleType, mjpeg: ModuleType
) -> None:
    servers = {"rtsp": rtsp.RtspServer, "mjpeg": mjpeg.MjpegServer}
    with servers[kind](numbered(10), user="me", password="right") as server:
        stream, events = watched(server.url_with("intruder", "hunter2"))
        with pytest.raises(StreamAuthenticationError, match="refuses the user name or") as caught:
            list(stream)
        shown = [str(caught.value), repr(caught.value), caught.value.hint, repr(stream)]
        shown += [repr(stream.stats()), stream.name, *map(repr, events)]
        shown += [str(event.to_dict()) for event in events]
        assert not [text for text in shown if "hunter2" in str(text) or "intruder" in str(text)]
        right, _ = watched(server.url_with("me", "right"))
        with right:
            number_of_true(frame_of(right))


def test_a_path_that_is_not_there(camera: Any, jpegs: Any) -> None:
    for url in (f"{camera.url}/other", f"{jpegs.url}/other", "/dev/video93"):
        stream, _ = watched(url)
        with pytest.raises(StreamNotFoundError, match=r"does not exist \("):
            list(stream)
        assert stream.stats().failures == 1


def test_where_nothing_listens_it_is_tried_again(camera: Any) -> None:
    camera.kill()
    stream, events = watched(camera.url)
    with stream:
        until(lambda: stream.stats().failures >= 3)
        assert stream.state == "connecting"
        assert "cannot be read: Connection refused. Next attempt in 0.0" in events[1].reason
        camera.restart()
        number_of_true(frame_of(stream))


def test_an_unknown_host_is_said_and_tried_again() -> None:
    stream, _ = watched("rtsp://me:hunter2@camera.invalid/live", reconnect=ONCE)
    with pytest.raises(StreamConnectionError) as caught:
        list(stream)
    assert str(caught.value) == (
        "rtsp://***@camera.invalid/live cannot be read: its host name is not known here."
    )


def test_a_silent_server(mjpeg: ModuleType) -> None:
    with mjpeg.RudeServer() as server:
        stream, _ = watched(f"http://127.0.0.1:{server.port}/", reconnect=ONCE, connect_s=0.3)
        with pytest.raises(StreamTimeoutError, match="was silent for too long"):
            list(stream)


def test_garbage_is_no_video(mjpeg: ModuleType) -> None:
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: 5120\r\n\r\n" + bytes(range(256)) * 20
    with mjpeg.RudeServer(answer) as server:
        stream, _ = watched(f"http://127.0.0.1:{server.port}/", silence_s=0.5)
        with pytest.raises(StreamError) as caught:
            list(stream)
    assert type(caught.value) is StreamCodecError
    assert "sends nothing that can be decoded here" in str(caught.value)


def test_an_rtsp_port_that_says_nothing_is_silent_and_may_be_starting(mjpeg: ModuleType) -> None:
    with mjpeg.RudeServer() as server:
        url = f"rtsp://127.0.0.1:{server.port}/live"
        stream, _ = watched(url, reconnect=ONCE, connect_s=0.5)
        with pytest.raises(StreamTimeoutError, match="was silent for too long"):
            list(stream)


def test_another_protocol_on_the_rtsp_port_is_no_codec(mjpeg: ModuleType) -> None:
    with mjpeg.RudeServer(b"220 mail.example ESMTP\r\n") as server:
        url = f"rtsp://127.0.0.1:{server.port}/live"
        stream, _ = watched(url, reconnect=ONCE, connect_s=0.5)
        with pytest.raises(StreamError) as caught:
            list(stream)
    assert isinstance(caught.value, StreamConnectionError | StreamTimeoutError)


def test_a_server_that_fails_is_tried_again(jpegs: Any) -> None:
    jpegs.status = 500
    stream, _ = watched(jpegs.url)
    with stream:
        until(lambda: stream.stats().failures >= 2)
        jpegs.status = 200
        number_of_true(frame_of(stream))


def test_what_trips_pyav_is_a_lost_connection(
    jpegs: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard, broken = Decoding.heard, iter([True, False])

    def trips(self: Decoding, ffmpeg_error: type[Exception]) -> Iterator[Any]:
        if not next(broken):
            yield from heard(self, ffmpeg_error)
        yield next(heard(self, ffmpeg_error))
        raise IndexError("no stream 1 in http://me:hunter2@camera")

    monkeypatch.setattr(Decoding, "heard", trips)
    stream, events = watched(jpegs.url)
    with stream:
        frame_of(stream)
        assert after_gap(stream).gap_s > 0
    assert isinstance(events[2].error, StreamConnectionError)
    assert f"{jpegs.url} cannot be read: IndexError in PyAV." in events[2].reason
    assert "in trips" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_codec_that_nobody_has(camera: Any) -> None:
    camera.refuse_codec()
    stream, _ = watched(camera.url)
    with pytest.raises(StreamCodecError, match="sends a kind of video that cannot be decoded"):
        list(stream)


def test_a_protocol_that_is_not_built_in() -> None:
    if "srt" in getattr(av, "protocols_available", ()):
        pytest.skip("this PyAV has SRT")
    stream, _ = watched("srt://127.0.0.1:9", reconnect=ONCE, connect_s=0.5)
    with pytest.raises(StreamError) as caught:
        list(stream)
    assert type(caught.value) in (StreamCodecError, StreamConnectionError, StreamTimeoutError)


def test_options_are_checked_and_secrets_in_them_are_not_shown() -> None:
    for name, value in (("connect_s", 0), ("silence_s", float("inf")), ("transport", "sctp")):
        with pytest.raises(InputError, match=f"^{name} is "):
            LiveOptions(**{name: value})
    options = LiveOptions(options=(("headers", "Authorization: Bearer hunter2"),))
    assert "hunter2" not in repr(options)
