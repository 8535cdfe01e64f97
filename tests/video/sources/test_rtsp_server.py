"""The test camera is one that FFmpeg reads, and breaks the way it says."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from numbered_frames import frame_number, numbered, picture, psnr

QUICK = {"rtsp_transport": "tcp", "analyzeduration": "100000", "fpsprobesize": "0"}


def frames_of(url: str, **options: str) -> Iterator[np.ndarray]:
    """Every frame that FFmpeg delivers, RGB."""
    with av.open(url, options={**QUICK, **options}, timeout=(20, 20)) as container:
        for packet in container.demux(container.streams.video[0]):
            decoded: list[Any] = []
            with contextlib.suppress(av.error.InvalidDataError):  # damage that is refused
                decoded = packet.decode()
            for frame in decoded:
                yield frame.to_ndarray(format="rgb24")


def numbers(frames: Iterator[np.ndarray], count: int) -> list[int | None]:
    return [frame_number(pixels) for pixels in itertools.islice(frames, count)]


@pytest.fixture
def server(rtsp: ModuleType) -> Iterator[Any]:
    with rtsp.RtspServer(numbered(100), fps=50) as started:
        yield started


@pytest.mark.parametrize("number", [0, 1, 4095, 2730])
def test_a_picture_has_its_number(number: int) -> None:
    assert frame_number(picture(number)) == number
    assert frame_number(picture(number, (64, 64))) == number


@pytest.mark.parametrize("level", [0, 100, 128, 255])
def test_a_flat_picture_has_none(level: int) -> None:
    assert frame_number(np.full((96, 128, 3), level, np.uint8)) is None


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_client_reads_every_frame_in_order(server: Any, transport: str) -> None:
    frames = list(itertools.islice(frames_of(server.url, rtsp_transport=transport), 30))
    first = frame_number(frames[0])
    assert first is not None
    assert first % 10 == 0  # a keyframe
    for number, pixels in enumerate(frames, first):
        assert frame_number(pixels) == number % 100
        assert psnr(pixels, picture(number % 100)) > 28


def test_two_clients_see_the_same_loop(server: Any) -> None:
    one, other = frames_of(server.url), frames_of(server.url)
    assert None not in numbers(one, 5) + numbers(other, 5)
    assert server.watching == 2
    one.close()
    assert None not in numbers(other, 5)


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_the_right_password_opens_it_and_no_other_does(rtsp: ModuleType, scheme: str) -> None:
    with rtsp.RtspServer(numbered(20), user="me", password="secret", schemes=(scheme,)) as server:
        assert None not in numbers(frames_of(server.url_with("me", "secret")), 3)
        for url in (server.url, server.url_with("me", "wrong")):
            with pytest.raises(av.error.HTTPUnauthorizedError):
                next(frames_of(url))


def test_another_path_is_not_there(server: Any) -> None:
    with pytest.raises(av.error.HTTPNotFoundError):
        next(frames_of(f"{server.url}/other"))


def test_killed_it_refuses_and_restarted_it_goes_on(server: Any) -> None:
    frames = frames_of(server.url)
    last = numbers(frames, 5)[-1]
    assert last is not None
    server.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
    tail = [frame_number(pixels) for pixels in frames]  # it ends
    assert tail == list(range(last + 1, last + 1 + len(tail)))
    server.restart()
    assert None not in numbers(frames_of(server.url), 5)


def test_stalled_it_sends_nothing_and_goes_on_where_it_was(server: Any) -> None:
    frames = frames_of(server.url)
    seen = numbers(frames, 5)
    server.stall()
    sent = server.sent
    time.sleep(0.1)
    assert server.sent - sent <= 1  # one may have been on its way
    server.resume()
    seen += numbers(frames, 40)
    assert seen[0] is not None
    assert seen == [(seen[0] + number) % 100 for number in range(45)]


def test_another_size_comes_with_a_keyframe(server: Any) -> None:
    frames = frames_of(server.url)
    assert next(frames).shape == (96, 128, 3)
    server.change_size(numbered(100, size=(128, 192), first=1000))
    larger = next(pixels for pixels in frames if pixels.shape == (128, 192, 3))
    assert frame_number(larger) == 1000
    assert psnr(larger, picture(1000, (128, 192))) > 28


@pytest.mark.parametrize("mode", ["flip", "drop"])
def test_damage_is_done_to_so_many_packets_and_ends(server: Any, mode: str) -> None:
    frames = frames_of(server.url)
    next(frames)
    server.corrupt(packets=6, mode=mode)
    whole: list[int | None] = []
    while len(whole) < 25:  # the last damaged group is over by then
        pixels = next(frames)
        number = frame_number(pixels)
        true = number is not None and psnr(pixels, picture(number)) > 28
        follows = true and number in {(last + 1) % 100 for last in whole[-1:] if last is not None}
        whole = [*whole, number] if follows else [number] if true else []
    assert server.damaged == 6


def test_a_codec_that_nobody_has(server: Any) -> None:
    server.refuse_codec()
    with av.open(server.url, options=QUICK, timeout=(20, 20)) as container:
        assert container.streams.video[0].codec_context is None


def test_it_leaves_no_thread(rtsp: ModuleType) -> None:
    before = set(threading.enumerate())
    with rtsp.RtspServer(numbered(10)) as server:
        frames = frames_of(server.url)
        next(frames)
    server.close()
    frames.close()
    assert set(threading.enumerate()) <= before


def test_jpegs_over_http(mjpeg: ModuleType) -> None:
    with mjpeg.MjpegServer(numbered(50), fps=50, user="me", password="secret") as server:
        frames = frames_of(server.url_with("me", "secret"))
        seen = numbers(frames, 10)
        assert seen[0] is not None
        assert seen == [(seen[0] + number) % 50 for number in range(10)]
        with pytest.raises(av.error.HTTPUnauthorizedError):
            next(frames_of(server.url))
        server.kill()
        with pytest.raises(av.error.ConnectionRefusedError):
            next(frames_of(server.url))
        server.restart()
        assert None not in numbers(frames_of(server.url_with("me", "secret")), 3)
    frames.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, av.error.HTTPNotFoundError), (500, av.error.HTTPServerError)],
)
def test_http_errors(mjpeg: ModuleType, status: int, error: type[Exception]) -> None:
    with mjpeg.MjpegServer(numbered(5)) as server:
        server.status = status
        with pytest.raises(error):
            next(frames_of(server.url))


def test_what_is_no_rtsp_server_cannot_be_opened(mjpeg: ModuleType) -> None:
    with (
        mjpeg.RudeServer(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as server,
        pytest.raises(av.error.FFmpegError),
    ):
        next(frames_of(f"rtsp://127.0.0.1:{server.port}/live", timeout="1000000"))
