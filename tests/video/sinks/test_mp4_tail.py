"""Fragmented files that were cut off play to the end of their last whole fragment."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from bas_edge.video import VideoSink
from bas_edge.video.sinks.mp4_tail import cut_torn_end

FRAMES = 150  # in fragments of two seconds, at 25 a second


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "whole.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    with VideoSink(path, 25, fragmented=True) as sink:
        for number in range(FRAMES):
            sink.write(np.roll(noise, number, axis=1))
    return path.read_bytes()


def decoded(path: Path) -> int:
    with av.open(path) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_whole_file_stays_as_it_is(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(whole)
    cut_torn_end(path)
    assert path.read_bytes() == whole
    assert decoded(path) == FRAMES


@pytest.mark.parametrize("share", [0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
def test_a_torn_file_decodes_to_its_new_end(whole: bytes, tmp_path: Path, share: float) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(whole[: int(len(whole) * share)])
    cut_torn_end(path)
    assert 0 < decoded(path) < FRAMES
    rest = path.read_bytes()
    assert whole.startswith(rest)
    path.write_bytes(rest + bytes(4096))  # what a file system may leave after a power cut
    cut_torn_end(path)
    assert path.read_bytes() == rest


def test_a_file_without_a_whole_fragment_stays_as_it_is(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(whole[:2000])
    cut_torn_end(path)
    assert path.read_bytes() == whole[:2000]
