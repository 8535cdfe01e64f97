"""The stream checks: the proxy breaks what it says, and a false frame is seen."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from numbered_frames import frame_number, numbered, picture

from bas_edge.video import open_source
from benchmarks.fault_proxy import FaultProxy
from benchmarks.harness import SkippedCaseError
from benchmarks.rtsp_process import RtspProcess
from benchmarks.stream_watch import Film, Watch, read_stamp

QUICK = {"rtsp_transport": "tcp", "analyzeduration": "100000", "fpsprobesize": "0"}


@pytest.fixture
def proxied(rtsp: ModuleType) -> Iterator[tuple[Any, FaultProxy]]:
    with rtsp.RtspServer(numbered(100), fps=50) as server, FaultProxy(server.port) as proxy:
        yield server, proxy


def numbers(proxy: FaultProxy) -> Iterator[int | None]:
    url = f"rtsp://127.0.0.1:{proxy.port}/live"
    with av.open(url, options=QUICK, timeout=(20, 20)) as container:
        for packet in container.demux(container.streams.video[0]):
            decoded: list[Any] = []
            with contextlib.suppress(av.error.InvalidDataError):  # damaged, or cut in two
                decoded = packet.decode()
            for frame in decoded:
                yield frame_number(frame.to_ndarray(format="rgb24"))


@pytest.mark.parametrize("number", [0, 7, 288, 4095])
def test_the_stamp_is_that_of_the_tests_own_pictures(number: int) -> None:
    assert read_stamp(picture(number)) == number


def test_a_flat_picture_has_no_stamp() -> None:
    assert read_stamp(np.full((96, 128, 3), 128, np.uint8)) is None
    assert read_stamp(np.zeros((96, 128, 3), np.uint8)) is None


def test_a_whole_picture_is_true_in_any_size_and_a_smeared_one_is_not(
    clips: ModuleType, tmp_path: Path
) -> None:
    frames = [picture(number, (180, 320)) for number in range(3)]
    film = Film(clips.write_clip(tmp_path / "film.mp4", frames))
    assert len(film) == 3
    assert film.apart(frames[1], 1) < 10
    assert film.apart(np.kron(frames[1], np.ones((2, 2, 1), np.uint8)), 1) < 10
    smeared = frames[1].copy()
    smeared[100:116, 200:216] = 255 - smeared[100:116, 200:216]
    assert film.apart(smeared, 1) > 30


def test_a_watch_counts_repeated_and_false_frames(clips: ModuleType, tmp_path: Path) -> None:
    frames = [picture(number, (180, 320)) for number in range(4)]
    film = Film(clips.write_clip(tmp_path / "film.mp4", frames))
    grey = np.full_like(frames[0], 128)
    with Watch(open_source([frames[0], frames[1], frames[1], grey, frames[2]]), film) as watch:
        assert watch.until(lambda: len(watch.sights) == 5)
    assert [seen.number for seen in watch.sights] == [0, 1, 1, None, 2]
    assert [seen.true for seen in watch.sights] == [True, True, True, False, True]
    assert watch.repeated() == 1
    assert watch.states == ["connecting", "running", "ended"]


def test_the_proxy_passes_a_stream_on(proxied: tuple[Any, FaultProxy]) -> None:
    seen = list(itertools.islice(numbers(proxied[1]), 20))
    assert seen[0] is not None
    assert seen == [(seen[0] + number) % 100 for number in range(20)]
    assert proxied[1].damaged == 0


@pytest.mark.parametrize("fault", ["flip", "drop"])
def test_the_proxy_damages_so_many_packets(proxied: tuple[Any, FaultProxy], fault: str) -> None:
    _, proxy = proxied
    frames = numbers(proxy)
    next(frames)
    getattr(proxy, fault)(4)
    list(itertools.islice(frames, 40))
    assert proxy.damaged == 4


def test_the_proxy_dies_and_comes_back(proxied: tuple[Any, FaultProxy]) -> None:
    _, proxy = proxied
    frames = numbers(proxy)
    next(frames)
    proxy.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port))
    list(frames)  # it ends
    proxy.restart()
    assert next(numbers(proxy)) is not None


def test_without_gstreamer_it_says_which_packages_bring_it(tmp_path: Path) -> None:
    with pytest.raises(SkippedCaseError, match=r"gir1\.2-gst-rtsp-server-1\.0"):
        RtspProcess(tmp_path / "film.mp4", tmp_path / "no-python")
