"""The annotated video: true times, true names, and never more files than asked for."""

from __future__ import annotations

import itertools
import shutil
from collections import deque
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from full_disk import full_disk
from stream_results import descriptors, ended, grey, result

from bas_edge.errors import BasEdgeError, InputError
from bas_edge.video import AnnotatedVideo, VideoSource


def times(path: Path) -> list[float]:
    return [frame.time_s for frame in VideoSource(path)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".kept")


def test_boxes_are_drawn_and_gaps_are_pauses(tmp_path: Path) -> None:
    sink = AnnotatedVideo(tmp_path / "{stream}.mp4", codec="libx264")
    for index, time_s in enumerate((0.0, 0.04, 60.0, 60.04)):
        sink.write(result(index, time_s, gap_s=59.96 if index == 2 else 0.0))
    sink.close(complete=True)
    frames = list(VideoSource(tmp_path / "door.mp4"))
    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.04, 60.0, 60.04])
    brightness = frames[0].pixels.max(axis=2)
    assert brightness[12:36, 16:48].max() > 150  # the outline
    assert np.abs(brightness[40:, :10].astype(int) - 90).max() < 20
    assert sink.encoders == {"door": "libx264"}
    assert sink.latest == {"door": tmp_path / "door.mp4"}


def test_the_shared_frame_stays_as_it_was(tmp_path: Path) -> None:
    pixels = grey()
    sink = AnnotatedVideo(tmp_path / "a.mp4")
    sink.write(result(pixels=pixels))
    sink.close(complete=True)
    assert (pixels == 90).all()


def test_a_file_that_was_stopped_stays_partial_and_plays(tmp_path: Path) -> None:
    (tmp_path / "door.mp4").write_bytes(b"an older video")
    sink = AnnotatedVideo(tmp_path / "{stream}.mp4")
    for index in range(5):
        sink.write(result(index))
    sink.close(complete=False)
    assert names(tmp_path) == ["door.mp4", "door.partial.mp4"]
    assert len(times(tmp_path / "door.partial.mp4")) == 5
    assert (tmp_path / "door.mp4").read_bytes() == b"an older video"


@pytest.mark.parametrize("complete", [True, False])
def test_a_file_whose_stream_ended_is_named_at_the_end(tmp_path: Path, complete: bool) -> None:
    sink = AnnotatedVideo(tmp_path / "{stream}.mp4")
    before = descriptors()
    for stream in ("a", "b", "c"):
        sink.write(result(stream=stream))
        sink.event(ended(stream))
        assert descriptors() == before
    assert names(tmp_path) == ["a.partial.mp4", "b.partial.mp4", "c.partial.mp4"]
    sink.close(complete=complete)
    assert len(times(tmp_path / ("b.mp4" if complete else "b.partial.mp4"))) == 1


def test_a_live_video_is_whole_however_it_ends_and_replaces_none(tmp_path: Path) -> None:
    for _ in range(2):
        sink = AnnotatedVideo(tmp_path / "{stream}.mp4", live=True)
        for index in range(5):
            sink.write(result(index, 1000 + index / 25))
        sink.close(complete=False)
    assert names(tmp_path) == ["door-2.mp4", "door.mp4"]
    assert times(tmp_path / "door-2.mp4") == pytest.approx([at / 25 for at in range(5)])


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_live_video_plays_after_a_power_cut(tmp_path: Path, codec: str) -> None:
    """What is on the disk in the middle of writing is what a power cut leaves."""
    rng = np.random.default_rng(0)
    sink = AnnotatedVideo(tmp_path / "{stream}.mp4", live=True, codec=codec)
    for index in range(200):
        sink.write(result(index, pixels=rng.integers(0, 255, (48, 64, 3), np.uint8)))
    shutil.copy(tmp_path / "door.partial.mp4", tmp_path / "left.mp4")
    sink.close(complete=True)
    assert len(times(tmp_path / "left.mp4")) >= 100
    assert len(times(tmp_path / "door.mp4")) == 200


def test_segments_by_time_with_a_limit(tmp_path: Path) -> None:
    template = tmp_path / "{stream}-{date}-{time}.mp4"
    sink = AnnotatedVideo(template, live=True, segment_s=2.0, max_files=2)
    for index in range(50):  # 10 s at 5 fps
        sink.write(result(index, index / 5))
    sink.close(complete=True)
    assert names(tmp_path) == ["door-2026-11-22-040512.mp4", "door-2026-11-22-040514.mp4"]
    assert times(tmp_path / "door-2026-11-22-040512.mp4") == pytest.approx(
        [at / 5 for at in range(10)]
    )


def test_segments_by_bytes(tmp_path: Path) -> None:
    limit = 20_000
    rng = np.random.default_rng(0)
    template = tmp_path / "{time}.mp4"
    sink = AnnotatedVideo(template, live=True, segment_s=1.0, max_bytes=limit)
    for index in range(40):
        pixels = rng.integers(0, 255, (48, 64, 3), np.uint8)
        sink.write(result(index, index / 5, pixels=pixels))
    sink.close(complete=True)
    sizes = [path.stat().st_size for path in tmp_path.glob("*.mp4")]
    assert 1 <= len(sizes) < 8
    assert sum(sizes) <= limit


def test_another_size_begins_a_segment_or_is_scaled(tmp_path: Path) -> None:
    frames = [result(0), result(1, pixels=grey((96, 128)))]
    whole = AnnotatedVideo(tmp_path / "whole.mp4", live=True)
    parts = AnnotatedVideo(tmp_path / "part-{time}.mp4", live=True, segment_s=60)
    for sink in (whole, parts):
        for each in frames:
            sink.write(each)
        sink.close(complete=True)
    assert VideoSource(tmp_path / "whole.mp4").size == (48, 64)
    assert len(times(tmp_path / "whole.mp4")) == 2
    assert VideoSource(tmp_path / "part-040506.mp4").size == (48, 64)
    assert VideoSource(tmp_path / "part-040506-2.mp4").size == (96, 128)


def test_a_pause_that_mp4_cannot_hold_begins_a_file(tmp_path: Path) -> None:
    sink = AnnotatedVideo(tmp_path / "a.mp4", live=True)
    for index, time_s in enumerate((0.0, 0.04, 100_000.0, 100_000.04)):
        sink.write(result(index, time_s))
    sink.close(complete=True)
    assert times(tmp_path / "a.mp4") == times(tmp_path / "a-2.mp4") == pytest.approx([0, 0.04])


def test_two_streams_need_two_names(tmp_path: Path) -> None:
    sink = AnnotatedVideo(tmp_path / "a.mp4")
    sink.write(result(stream="door"))
    with pytest.raises(InputError, match="The streams 'door' and 'yard' would both be written to"):
        sink.write(result(stream="yard"))
    sink.close(complete=True)
    assert names(tmp_path) == ["a.mp4"]


def test_a_stream_may_be_called_anything(tmp_path: Path) -> None:
    sink = AnnotatedVideo(tmp_path / "in" / "{stream}.mp4")
    for stream in ("../../evil", "rtsp://cam/1?x", "鳥"):
        sink.write(result(stream=stream))
    sink.close(complete=True)
    assert names(tmp_path) == ["in"]
    assert len(names(tmp_path / "in")) == 3


def test_a_full_disk_is_said_and_leaves_no_descriptor(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    before = descriptors()
    sink = AnnotatedVideo(tmp_path / "a.mp4", codec="mpeg4")
    (tmp_path / "a.partial.mp4").symlink_to("/dev/full")
    rng = np.random.default_rng(0)
    frames = (
        result(index, pixels=rng.integers(0, 255, (96, 128, 3), np.uint8)) for index in range(100)
    )
    with pytest.raises(BasEdgeError, match=r"Cannot write .*a.partial.mp4: No space left"):
        deque(map(sink.write, frames))
    sink.close(complete=False)
    assert names(tmp_path) == []
    assert descriptors() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment_s": 5.0}, "are for live streams, and live is False"),
        ({"live": True, "segment_s": 0.0}, "segment_s is 0.0"),
        ({"live": True, "segment_s": float("nan")}, "segment_s is nan, but must be over 0"),
        ({"fps": 0.0}, "fps is 0.0"),
        ({"fps": float("inf")}, "fps is inf"),
        ({"fps": 1e12}, "fps is 1000000000000.0"),
        ({"live": True, "segment_s": 5.0}, "lacks the field 'time'"),
        ({"live": True, "max_files": 0}, "max_files is 0"),
        ({"codec": "h265x"}, "no encoder 'h265x'"),
    ],
)
def test_arguments_that_cannot_be(
    tmp_path: Path, clips: ModuleType, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        AnnotatedVideo(tmp_path / "{stream}.mp4", **options)


def test_a_stream_that_ends_twice_has_its_last_video(tmp_path: Path) -> None:
    sink = AnnotatedVideo(tmp_path / "{stream}.mp4")
    for count in (3, 2):
        for index in range(count):
            sink.write(result(index))
        sink.event(ended())
    sink.close(complete=True)
    assert names(tmp_path) == ["door.mp4"]
    assert len(times(tmp_path / "door.mp4")) == 2


def test_another_suffix_is_refused(tmp_path: Path, clips: ModuleType) -> None:
    with pytest.raises(InputError, match=r"The video .*a.mkv would be an mp4"):
        AnnotatedVideo(tmp_path / "a.mkv")


def test_two_sinks_of_one_name_write_two_videos(tmp_path: Path) -> None:
    """As one [[sink]] of all cameras and one of a camera, with the same template."""
    template = tmp_path / "{time}.mp4"
    sinks = [AnnotatedVideo(template, live=True, segment_s=1, max_files=4) for _ in range(2)]
    for index in range(80):
        for sink in sinks:
            sink.write(result(index))
    for sink in sinks:
        sink.close(complete=True)
    assert names(tmp_path) == ["040508-2.mp4", "040508.mp4", "040509-2.mp4", "040509.mp4"]
    assert [len(times(path)) for path in sorted(tmp_path.glob("040508*.mp4"))] == [25, 25]


@pytest.mark.parametrize("max_files", [None, 3])
def test_a_full_disk_for_a_while_does_not_end_a_recording(
    tmp_path: Path, max_files: int | None
) -> None:
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(30)]
    frames = (result(index, index / 5, pixels=pixels[index % 30]) for index in itertools.count())
    before = descriptors()
    sink = AnnotatedVideo(
        tmp_path / "{time}.mp4", live=True, fps=5, codec="mpeg4", segment_s=60, max_files=max_files
    )
    for _ in range(100):
        sink.write(next(frames))
    written = 100
    with full_disk((tmp_path / "040506.partial.mp4").stat().st_size + 5_000):
        while not sink.problem:
            sink.write(next(frames))
            written += 1
    assert names(tmp_path) == ["040506.mp4"]  # what there is of it
    with full_disk(100):
        for _ in range(60):
            sink.write(next(frames))
        assert "too large" in sink.problem
    assert len(names(tmp_path)) <= 2  # the newest file may not have failed yet
    assert sink.dropped >= 45
    for _ in range(60):  # it is tried again after five seconds
        sink.write(next(frames))
    assert sink.problem == ""
    frames_in_all = next(frames).index
    with pytest.raises(BasEdgeError, match="lost, the last because"):
        sink.close(complete=True)
    assert descriptors() == before
    first, last = (len(times(tmp_path / name)) for name in names(tmp_path))
    assert written - 20 <= first <= written
    assert last >= 30
    assert first + last + sink.dropped >= frames_in_all - 20
