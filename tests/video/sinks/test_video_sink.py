"""The mp4 writer: every frame once, at its time, and never half a file under its name."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bas_edge.errors import InputError
from bas_edge.video.sinks.video_sink import PREFERRED_ENCODERS, VideoSink, available_encoders
from bas_edge.video.sources.video_source import VideoSource


def interrupted_write(path: Path, frames: list[np.ndarray], interrupt: type[BaseException]) -> None:
    def block() -> None:
        with VideoSink(path, 25) as sink:
            for frame in frames:
                sink.write(frame)
            raise interrupt

    with pytest.raises(interrupt):
        block()


@pytest.mark.parametrize("codec", PREFERRED_ENCODERS)
def test_round_trip_of_every_encoder_here(clips: ModuleType, tmp_path: Path, codec: str) -> None:
    if codec not in available_encoders():
        with pytest.raises(InputError, match=f"no encoder '{codec}'"):
            VideoSink(tmp_path / "a.mp4", 25, codec=codec)
        return
    frame = np.full((48, 64, 3), (200, 40, 90), np.uint8)
    with VideoSink(tmp_path / "a.mp4", 30000 / 1001, codec=codec) as sink:
        for _ in range(9):
            sink.write(frame)
    read = list(VideoSource(tmp_path / "a.mp4"))
    assert len(read) == 9
    assert [each.time_s for each in read] == pytest.approx([at * 1001 / 30000 for at in range(9)])
    np.testing.assert_allclose(read[4].pixels[24, 32].astype(int), (200, 40, 90), atol=8)


def test_auto_takes_the_first_encoder(clips: ModuleType, tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", 25) as sink:
        assert sink.codec == available_encoders()[0]


def test_odd_sizes_grow_by_one(clips: ModuleType, tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", 25) as sink:
        sink.write(clips.noise_frames(1, (33, 47))[0])
    assert VideoSource(tmp_path / "a.mp4").size == (34, 48)


def test_times_are_kept_and_repaired(clips: ModuleType, tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", 25) as sink:
        for time_s in (0.0, 0.1, 0.1, 0.5):  # the third is not after the second
            sink.write(clips.noise_frames(1)[0], time_s)
    times = [frame.time_s for frame in VideoSource(tmp_path / "a.mp4")]
    assert times == pytest.approx([0.0, 0.1, 0.14, 0.5])


def test_a_later_frame_of_another_size_is_scaled(clips: ModuleType, tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", 25) as sink:
        sink.write(clips.noise_frames(1, (48, 64))[0])
        sink.write(clips.noise_frames(1, (96, 80))[0])
    shapes = {frame.pixels.shape for frame in VideoSource(tmp_path / "a.mp4")}
    assert shapes == {(48, 64, 3)}


def test_an_error_leaves_nothing(clips: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"an older video")
    interrupted_write(tmp_path / "a.mp4", clips.noise_frames(1), ZeroDivisionError)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"an older video"


def test_ctrl_c_leaves_a_partial_file_that_plays(clips: ModuleType, tmp_path: Path) -> None:
    interrupted_write(tmp_path / "a.mp4", clips.noise_frames(5), KeyboardInterrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["a.partial.mp4"]
    assert len(list(VideoSource(tmp_path / "a.partial.mp4"))) == 5


def test_no_frames_no_file(clips: ModuleType, tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", 25):
        pass
    assert list(tmp_path.iterdir()) == []


def test_unknown_encoder(clips: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no encoder 'h265x'") as caught:
        VideoSink(tmp_path / "a.mp4", 25, codec="h265x")
    assert available_encoders()[0] in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_cannot_open(clips: ModuleType, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"The encoder 'gif' cannot write an mp4 of 64×48"),
        VideoSink(tmp_path / "a.mp4", 25, codec="gif") as sink,
    ):
        sink.write(clips.noise_frames(1)[0])
    assert list(tmp_path.iterdir()) == []
