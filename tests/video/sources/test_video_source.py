"""Frames come out upright, in order, and as many as decode."""

from __future__ import annotations

import gc
import sys
import wave
from contextlib import closing
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from bas_edge.errors import InputError, MissingExtraError
from bas_edge.video import open_source
from bas_edge.video.sources.live_capture import LiveCapture, LiveOptions
from bas_edge.video.sources.pictures import display_orientation
from bas_edge.video.sources.video_source import VideoSource

FASTSTART = {"movflags": "faststart"}


def quadrants() -> np.ndarray:
    """A red, green, blue and white quarter, clockwise from the upper left."""
    frame = np.empty((48, 64, 3), np.uint8)
    frame[:24, :32], frame[:24, 32:] = (255, 0, 0), (0, 255, 0)
    frame[24:, 32:], frame[24:, :32] = (0, 0, 255), (255, 255, 255)
    return frame


def test_every_frame_with_its_time(clips: ModuleType, tmp_path: Path) -> None:
    source = VideoSource(clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(12)))
    frames = list(source)
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx([at / 25 for at in range(12)])
    assert frames[0].pixels.shape == (48, 64, 3)
    assert frames[0].pixels.dtype == np.uint8
    assert (source.fps, source.size, source.frame_count) == (25.0, (48, 64), 12)
    assert source.damage is None


def test_colours_are_rgb(clips: ModuleType, tmp_path: Path) -> None:
    frame = next(iter(VideoSource(clips.write_clip(tmp_path / "a.mp4", [quadrants()] * 3)))).pixels
    np.testing.assert_allclose(frame[12, 16], (255, 0, 0), atol=24)  # chroma is lossy


def test_a_source_can_be_read_twice(clips: ModuleType, tmp_path: Path) -> None:
    source = VideoSource(clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(3)))
    assert len(list(source)) == len(list(source)) == 3


def test_decoded_frames_do_not_pile_up(clips: ModuleType, tmp_path: Path) -> None:
    """PyAV's side data and its frame can hold each other: 1.4 MB of 720p each time a file opens."""
    clip = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(40))
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            assert sum(1 for _ in VideoSource(clip)) == 40
        alive = sum(type(one) is av.VideoFrame for one in gc.get_objects())  # never one's __class__
    finally:
        gc.enable()
    assert alive == 0


@pytest.mark.parametrize("turned", [90, 180, 270, "mirrored"])
def test_rotation_metadata_is_applied(clips: ModuleType, tmp_path: Path, turned: int | str) -> None:
    clip = clips.turn(
        clips.write_clip(tmp_path / "a.mp4", [quadrants()] * 3), clips.DISPLAY_MATRICES[turned]
    )
    source = VideoSource(clip)
    frame = next(iter(source)).pixels
    # FFmpeg's angle is counter-clockwise, as NumPy's is.
    upright = np.fliplr(quadrants()) if turned == "mirrored" else quadrants()
    expected = upright if turned == "mirrored" else np.rot90(upright, int(turned) // 90)
    assert source.size == frame.shape[:2] == expected.shape[:2]
    assert frame.flags.c_contiguous
    height, width = expected.shape[:2]
    for y in (height // 4, 3 * height // 4):
        for x in (width // 4, 3 * width // 4):
            np.testing.assert_allclose(frame[y, x].astype(int), expected[y, x], atol=24)


@pytest.mark.parametrize(
    ("turned", "expected"),
    [
        (0, [[1, 2, 3], [4, 5, 6]]),
        (90, [[3, 6], [2, 5], [1, 4]]),
        (180, [[6, 5, 4], [3, 2, 1]]),
        (270, [[4, 1], [5, 2], [6, 3]]),
        ("mirrored", [[3, 2, 1], [6, 5, 4]]),
        ("upside down", [[4, 5, 6], [1, 2, 3]]),
        ("transposed", [[1, 4], [2, 5], [3, 6]]),
    ],
)
def test_display_orientation(
    clips: ModuleType, turned: int | str, expected: list[list[int]]
) -> None:
    a, b, c, d = clips.DISPLAY_MATRICES[turned]
    matrix = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32)
    pixels = np.repeat(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., None], 3, axis=2)
    assert display_orientation(pixels, matrix)[..., 0].tolist() == expected


def test_a_slanted_display_matrix_leaves_the_frame() -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    matrix = np.array([46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30], np.int32)  # 45°
    np.testing.assert_array_equal(display_orientation(pixels, matrix), pixels)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp4", FASTSTART), ("a.mkv", None), ("a.avi", None), ("a.ts", None)],
)
def test_a_cut_file_gives_what_decodes_and_says_so(
    clips: ModuleType, tmp_path: Path, name: str, options: dict[str, str] | None
) -> None:
    codec = "mpeg2video" if name.endswith("ts") else "mpeg4"
    whole = clips.write_clip(tmp_path / name, clips.noise_frames(50), codec=codec, options=options)
    source = VideoSource(whole)
    assert len(list(source)) == 50
    assert source.damage is None
    source = VideoSource(clips.cut(whole, 0.5))
    frames = list(source)
    assert 15 < len(frames) < 40
    assert source.damage is not None
    assert f"{name} ends in the middle: {len(frames)} frames decoded" in source.damage


def test_damage_in_the_middle_is_counted(clips: ModuleType, tmp_path: Path) -> None:
    clip = clips.write_clip(tmp_path / "a.avi", clips.noise_frames(50))
    content = bytearray(clip.read_bytes())
    at = content.index(b"00dc", len(content) // 2)
    content[at + 8 : at + 400] = bytes(392)  # a frame without its head
    clip.write_bytes(content)
    source = VideoSource(clip)
    frames = list(source)
    assert len(frames) == 49
    assert source.damage == f"{clip}: 1 damaged frames skipped, 49 decoded."
    indices = [frame.index for frame in frames]
    (damaged,) = set(range(50)) - set(indices)
    assert 0 < damaged < 49
    assert indices == [frame.index for frame in open_source(source)]  # one numbering for all
    picked = [frame.index for frame in source.pick([damaged - 1, damaged, damaged + 1])]
    assert picked == [damaged - 1, damaged + 1]
    assert list(source.pick([damaged])) == []
    assert source.damage is None  # it did not read on to the end


def test_damage_is_reset_by_the_next_pass(clips: ModuleType, tmp_path: Path) -> None:
    whole = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(50), options=FASTSTART)
    source = VideoSource(clips.cut(whole, 0.5))
    list(source)
    assert source.damage is not None
    next(iter(source))
    assert source.damage is None


def test_a_file_that_lost_its_index(clips: ModuleType, tmp_path: Path) -> None:
    clip = clips.cut(clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(20)), 0.5)
    with pytest.raises(InputError, match=r"cut_a.mp4 cannot be opened as a video: Invalid data"):
        VideoSource(clip)


@pytest.mark.parametrize("content", [b"", b"not a video\n" * 50])
def test_not_a_video(clips: ModuleType, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"a.mp4 cannot be opened as a video"):
        VideoSource(tmp_path / "a.mp4")


def test_a_title_that_is_not_utf_8(clips: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(path, "w") as container:
        container.metadata["title"] = "Vogel"
        stream = container.add_stream("mpeg4", rate=25, width=64, height=48)
        for frame in clips.noise_frames(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"Vogel", "V\xf6gel".encode("latin-1")))
    assert len(list(VideoSource(path))) == 3
    with closing(LiveCapture(str(path), LiveOptions(hardware="off"))) as capture:
        assert any(picture is not None for picture in capture)


def test_sound_alone(clips: ModuleType, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    with pytest.raises(InputError, match=r"a.wav has no video stream"):
        VideoSource(tmp_path / "a.wav")


def test_missing_file(clips: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing.mp4: no such file"):
        VideoSource(tmp_path / "nothing.mp4")


def test_without_pyav(clips: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError) as caught:
        VideoSource(tmp_path / "a.mp4")
    assert caught.value.hint == "pip install 'bas-edge[video]'"


def test_picked_frames_are_those_of_a_whole_iteration(clips: ModuleType, tmp_path: Path) -> None:
    frames = [np.full((48, 64, 3), 20 * n, np.uint8) for n in range(12)]
    path = clips.write_clip(tmp_path / "a.mp4", frames)
    source = VideoSource(clips.turn(path, clips.DISPLAY_MATRICES[90]))
    whole = list(source)
    picked = list(source.pick([7, 3]))
    assert [(one.index, one.time_s) for one in picked] == [(n, whole[n].time_s) for n in (3, 7)]
    for one in picked:  # turned, although the frame that says so was not asked for
        np.testing.assert_array_equal(one.pixels, whole[one.index].pixels)
    assert list(source.pick([])) == []
    assert source.damage is None


def test_picking_past_the_end_says_what_is_missing(clips: ModuleType, tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(12), options=FASTSTART)
    source = VideoSource(clips.cut(path, 0.5))
    assert [one.index for one in source.pick([0, 11])] == [0]
    assert source.damage is not None
    assert "ends in the middle" in source.damage


def test_packets_are_counted_not_believed(clips: ModuleType, tmp_path: Path) -> None:
    whole = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(12), options=FASTSTART)
    assert VideoSource(whole).count_packets() == 12
    short = VideoSource(clips.cut(whole, 0.5))
    assert short.frame_count == 12
    assert short.count_packets() < 9
