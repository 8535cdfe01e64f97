"""Calibration frames: which ones, what the network sees of them, and which are refused."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from bas_edge.engine.manifest import InputPolicy
from bas_edge.errors import InputError
from bas_edge.framing import frame_to_input, place
from bas_edge.images import read_image
from bas_edge.quantization.frame_source import find_frames, spread
from bas_edge.quantization.frames import calibration_frames

Write = Callable[..., list[Path]]


@given(count=st.integers(0, 3000), limit=st.integers(1, 3000))
@example(count=10, limit=3)
def test_chosen_indices_are_even(count: int, limit: int) -> None:
    chosen = spread(count, limit)
    assert len(chosen) == min(count, limit)
    assert chosen == sorted(set(chosen) & set(range(count)))
    gaps = np.diff(chosen)
    assert gaps.max(initial=0) - gaps.min(initial=count) <= 1 or len(chosen) < 2
    if chosen:
        assert abs(chosen[0] - (count - 1 - chosen[-1])) <= 1  # as far from both ends


def test_every_frame_as_the_runtime_makes_it(photos: Path, policy: InputPolicy) -> None:
    with calibration_frames(photos, policy) as frames:
        assert (len(frames), frames.notes, frames.source) == (100, (), str(photos))
        assert [item.path for item in frames.items] == sorted(photos.rglob("*.png"))
        batches = list(frames.batches(32))
        assert [len(batch) for batch in batches] == [32, 32, 32, 4]
        for item, got in zip(frames.items, np.concatenate(batches), strict=True):
            frame = read_image(item.path)
            np.testing.assert_array_equal(got, frame_to_input(frame, place((20, 30), policy)))
            content = item.path.read_bytes()
            assert item.sha256 == hashlib.sha256(content).hexdigest()
            assert item.size_bytes == len(content)


def test_frames_can_be_read_again(photos: Path, policy: InputPolicy) -> None:
    with calibration_frames(photos, policy) as frames:
        first, again = list(frames.batches(40)), list(frames.batches(40))
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(again))
    with pytest.raises(ValueError, match="closed"):
        next(frames.batches(1))


def test_progress_of_decoding_and_of_reading(photos: Path, policy: InputPolicy) -> None:
    calls: list[tuple[int, int]] = []
    with calibration_frames(photos, policy, progress=lambda *call: calls.append(call)) as frames:
        assert calls == [(n, 100) for n in range(1, 101)]
        calls.clear()
        list(frames.batches(64, lambda *call: calls.append(call)))
    assert calls == [(64, 100), (100, 100)]


def test_exif_orientation_is_applied(tmp_path: Path, policy: InputPolicy) -> None:
    stored = np.zeros((20, 30, 3), np.uint8)
    stored[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    Image.fromarray(stored).save(tmp_path / "turned.png", exif=exif)
    with calibration_frames(tmp_path, policy, force=True) as frames:
        (batch,) = frames.batches(1)
    assert batch[0, 0].max() == 0
    assert batch[0, -1].min() == 255


# Where frames come from


def test_a_glob_and_a_limit(photos: Path, policy: InputPolicy) -> None:
    with calibration_frames(f"{photos}/*.png", policy, limit=6, force=True) as frames:
        assert [item.path.stem for item in frames.items] == ["005", "015", "025", "035", "045",
                                                             "055"]  # fmt: skip


def test_a_csv_with_only_a_path(tmp_path: Path, write_photos: Write, policy: InputPolicy) -> None:
    write_photos(tmp_path / "images", 3)
    csv = tmp_path / "list.csv"
    csv.write_text("path\nimages/002.png\nimages/000.png\nimages/002.png\n")
    with calibration_frames(csv, policy, force=True) as frames:
        assert [item.path.stem for item in frames.items] == ["000", "002"]
        assert len(frames.notes) == 1  # two images are few, and a row twice is no copy


def test_a_csv_with_labels_and_boxes(
    tmp_path: Path, write_photos: Write, policy: InputPolicy
) -> None:
    write_photos(tmp_path, 2)
    csv = tmp_path / "val.csv"
    rows = ["001.png,0,a,1,1,5,5", "001.png,0,a,2,2,9,9", "000.png,1,b,1,1,5,5"]
    csv.write_text("\n".join(["path,label,class_name,x0,y0,x1,y1", *rows]))
    with calibration_frames(csv, policy, force=True) as frames:
        assert [item.path.name for item in frames.items] == ["000.png", "001.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image\na.png\n", "has 0 columns 'path', but must have one"),
        ("path,path\na.png,b.png\n", "has 2 columns 'path'"),
        ("path\n", "has a header but no rows"),
        ("path,label\na.png,0\n ,1\n", r"line 3: 'path' must not be empty"),
        ("path\na, b.png\n", "does not have as many cells as the header"),
    ],
)
def test_a_csv_that_is_no_list_of_images(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        find_frames(tmp_path / "list.csv")


def test_nothing_there_and_no_images(tmp_path: Path, policy: InputPolicy) -> None:
    with pytest.raises(InputError, match="No such file or folder"):
        calibration_frames(tmp_path / "missing", policy)
    with pytest.raises(InputError, match="No images in"):
        calibration_frames(tmp_path, policy)
    with pytest.raises(InputError, match="is 0, but must be at least 1"):
        calibration_frames(tmp_path, policy, limit=0)


# What is refused


def test_99_images_are_too_few_and_100_are_not(
    tmp_path: Path, write_photos: Write, policy: InputPolicy
) -> None:
    write_photos(tmp_path, 99)
    with pytest.raises(InputError, match=r"has 99 different images .* 100 are needed"):
        calibration_frames(tmp_path, policy)
    with calibration_frames(tmp_path, policy, force=True) as frames:
        assert len(frames) == 99
        assert "99 images, fewer than 100" in frames.notes[0]
    write_photos(tmp_path / "one more", 1, seed=1)
    with calibration_frames(tmp_path, policy, force=True) as frames:
        assert (len(frames), frames.notes) == (100, ())


def test_a_limit_that_leaves_too_few_is_named(photos: Path, policy: InputPolicy) -> None:
    with pytest.raises(InputError, match=r"has 99 different .*, limited to 99; at") as error:
        calibration_frames(photos, policy, limit=99)
    assert error.value.hint is not None
    assert "Raise the limit" in error.value.hint


def test_copies_count_once(tmp_path: Path, photos: Path, policy: InputPolicy) -> None:
    shutil.copytree(photos, tmp_path / "a")
    shutil.copy(tmp_path / "a" / "000.png", tmp_path / "b.png")
    with calibration_frames(tmp_path, policy) as frames:
        assert len(frames) == 100
        assert "1 of 101 images" in frames.notes[0]
        assert f"copies of another and count once; the first: {tmp_path}/b.png" in frames.notes[0]
    shutil.copy(tmp_path / "b.png", tmp_path / "a" / "001.png")  # now 99 are different
    with pytest.raises(InputError, match="has 99 different images for calibration among 101"):
        calibration_frames(tmp_path, policy)


def test_a_tenth_may_be_unreadable(tmp_path: Path, photos: Path, policy: InputPolicy) -> None:
    shutil.copytree(photos, tmp_path / "good")
    for n in range(11):
        (tmp_path / f"{n}.jpg").write_bytes(b"no image")
    with calibration_frames(tmp_path, policy) as frames:
        assert len(frames) == 100
        assert "11 of 111 images" in frames.notes[0]
        assert "0.jpg is not an image that Pillow can read" in frames.notes[0]
    (tmp_path / "good" / "000.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"12 of 111 images .* at most 10 % .*0\.jpg is not"):
        calibration_frames(tmp_path, policy, force=True)


def test_a_tenth_may_be_of_one_colour(tmp_path: Path, photos: Path, policy: InputPolicy) -> None:
    shutil.copytree(photos, tmp_path / "good")
    for n in range(11):
        Image.new("RGB", (30, 20), (n, 0, 0)).save(tmp_path / f"{n}.png")
    with calibration_frames(tmp_path, policy) as frames:
        assert "11 of 111 images" in frames.notes[0]
    Image.new("L", (30, 20), 255).save(tmp_path / "good" / "000.png")
    with pytest.raises(InputError, match=r"12 of 111 .* one colour at network size.*/0\.png\.$"):
        calibration_frames(tmp_path, policy, force=True)


def test_padding_does_not_hide_one_colour(tmp_path: Path) -> None:
    Image.new("RGB", (60, 20), (9, 9, 9)).save(tmp_path / "wide.png")
    letterbox = InputPolicy(height=24, width=24, resize="letterbox")
    with pytest.raises(InputError, match="of one colour"):
        calibration_frames(tmp_path, letterbox, force=True)


# Video


def pictures(count: int) -> list[np.ndarray]:
    """Frames that get brighter by two, with a bright corner."""
    frames = [np.full((48, 64, 3), 2 * n, np.uint8) for n in range(count)]
    for frame in frames:
        frame[:24, :32] = 255
    return frames


def test_a_video_is_sampled_evenly(clips: ModuleType, tmp_path: Path, policy: InputPolicy) -> None:
    path = clips.write_clip(tmp_path / "a.mp4", pictures(110))
    with calibration_frames(path, policy, limit=5, force=True) as frames:
        assert [item.frame for item in frames.items] == [11, 33, 55, 77, 99]
        assert {item.path for item in frames.items} == {path}
        assert {item.sha256 for item in frames.items} == {
            hashlib.sha256(path.read_bytes()).hexdigest()
        }
        (batch,) = frames.batches(5)
    np.testing.assert_allclose(batch[:, -1, -1, 0], [22, 66, 110, 154, 198], atol=4)


def test_a_video_shorter_than_the_limit(
    clips: ModuleType, tmp_path: Path, policy: InputPolicy
) -> None:
    path = clips.write_clip(tmp_path / "a.mp4", pictures(103))
    with calibration_frames(path, policy, limit=200) as frames:
        assert [item.frame for item in frames.items] == list(range(103))
    path = clips.write_clip(tmp_path / "b.mp4", pictures(40))
    with pytest.raises(InputError, match=r"b\.mp4 has 40 different .*; at least 100"):
        calibration_frames(path, policy, limit=200)


def test_a_video_that_was_cut_off(clips: ModuleType, tmp_path: Path, policy: InputPolicy) -> None:
    whole = clips.write_clip(
        tmp_path / "a.mp4", clips.noise_frames(20), options={"movflags": "faststart"}
    )
    with calibration_frames(clips.cut(whole, 0.5), policy, force=True) as frames:
        count = len(frames)
        assert 5 < count < 15  # spread over what is there, not over what the header claims
        assert [item.frame for item in frames.items] == list(range(count))


def test_a_black_video_is_refused(clips: ModuleType, tmp_path: Path, policy: InputPolicy) -> None:
    path = clips.write_clip(tmp_path / "a.mp4", [np.zeros((48, 64, 3), np.uint8)] * 12)
    with pytest.raises(InputError, match=r"12 of 12 .* one colour.*a\.mp4, frame 0"):
        calibration_frames(path, policy, force=True)


def test_a_still_video_is_one_image(clips: ModuleType, tmp_path: Path, policy: InputPolicy) -> None:
    path = clips.write_clip(tmp_path / "a.mp4", [pictures(1)[0]] * 120)
    with pytest.raises(InputError, match="different images for calibration among 120"):
        calibration_frames(path, policy)


def test_a_file_that_is_neither(tmp_path: Path, policy: InputPolicy) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(InputError, match=r"notes\.txt cannot be opened as a video"):
        calibration_frames(tmp_path / "notes.txt", policy)
