"""Damage of many kinds, the same in each run: of a live stream only true pictures come through."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numbered_frames import frame_number, picture, psnr

from bas_edge.video import LiveOptions
from bas_edge.video.sources.capture import Damaged
from bas_edge.video.sources.live_capture import LiveCapture

COUNT = 80
SIZE = (144, 176)
# The keyframe interval is 20. What coding costs leaves more than 28 dB (numbered_frames.psnr).
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"tune": "zerolatency", "preset": "ultrafast", "g": "20", "crf": "16"}),
    "h264 in slices": (
        "libx264",
        {"tune": "zerolatency", "g": "20", "crf": "16", "x264-params": "slices=4"},
    ),
    "h264 without keyframes": (
        "libx264",
        {"tune": "zerolatency", "g": "20", "crf": "16", "x264-params": "intra-refresh=1"},
    ),
    "hevc": (
        "libx265",
        {"tune": "zerolatency", "preset": "ultrafast", "crf": "16"}
        | {"x265-params": "keyint=20:min-keyint=20:scenecut=0:log-level=none"},
    ),
    "mpeg4": ("mpeg4", {"g": "20", "qscale": "2"}),
    "mjpeg": ("mjpeg", {"qmin": "2", "qmax": "4"}),
}


def write(path: Path, codec: str, damage: Callable[[int, bytes], bytes | None]) -> Path:
    """A clip of numbered frames, of which `damage` may change packets or leave them out."""
    name, options = CODECS[codec]
    if name.startswith("lib") and name not in av.codecs_available:
        pytest.skip(f"this PyAV has no {name}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(name, rate=25, options=options)
        stream.width, stream.height = SIZE[1], SIZE[0]
        stream.pix_fmt = "yuvj420p" if name == "mjpeg" else "yuv420p"
        stream.bit_rate = 4_000_000
        stream.codec_context.thread_count = 1
        packets: list[Any] = []
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(picture(number, SIZE), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += stream.encode(frame)
        for packet in [*packets, *stream.encode(None)]:
            content = damage(round(packet.pts * packet.time_base * 25), bytes(packet))
            if content is None:
                continue
            changed = av.Packet(content)
            changed.stream, changed.time_base = stream, packet.time_base
            changed.pts, changed.dts = packet.pts, packet.dts
            changed.is_keyframe = packet.is_keyframe
            container.mux(changed)
    return path


def live(path: Path) -> tuple[list[int | None], LiveCapture]:
    """The numbers of all pictures, read as a live stream; None for one that is not true."""
    capture = LiveCapture(str(path), LiveOptions(hardware="off", options=(("fflags", "genpts"),)))
    numbers: list[int | None] = []
    for one in capture:
        if one is None or isinstance(one, Damaged):
            continue
        pixels = one.pixels()
        number = frame_number(pixels)
        true = number is not None and psnr(pixels, picture(number, SIZE)) > 28
        numbers.append(number if true else None)
    capture.close()
    return numbers, capture


def spared(number: int) -> bool:
    return number % 7 != 5 or number < 3


def gone(number: int, content: bytes) -> bytes | None:
    return content if spared(number) else None


def torn(number: int, content: bytes) -> bytes | None:
    return content if spared(number) else content[: len(content) * 2 // 3]


def garbled(number: int, content: bytes) -> bytes | None:
    if spared(number):
        return content
    dice, changed = random.Random(number), bytearray(content)
    for _ in range(len(content) // 20):
        changed[dice.randrange(len(content) // 3, len(content))] ^= dice.randrange(1, 256)
    return bytes(changed)


@pytest.mark.parametrize("codec", list(CODECS))
def test_what_is_whole_comes_whole(tmp_path: Path, codec: str) -> None:
    numbers, capture = live(write(tmp_path / "a.mkv", codec, lambda _, content: content))
    assert numbers == list(range(COUNT))
    assert capture.damage is None


@pytest.mark.parametrize(
    ("codec", "damage"),
    [(codec, gone) for codec in CODECS if codec not in ("mpeg4",)]  # which has no numbers
    + [(codec, torn) for codec in CODECS if codec != "hevc"]  # nothing tells (docs/sources.md)
    # Other bits make another valid JPEG picture.
    + [(codec, garbled) for codec in CODECS if codec not in ("hevc", "mjpeg")],
)
def test_only_true_pictures(
    tmp_path: Path, codec: str, damage: Callable[[int, bytes], bytes | None]
) -> None:
    numbers, capture = live(write(tmp_path / "a.mkv", codec, damage))
    assert None not in numbers
    assert all(np.diff([number for number in numbers if number is not None]) > 0)
    missing = COUNT - len(numbers)
    # A stream without keyframes needs twenty whole frames to mend, and never has them.
    assert 11 <= missing < (COUNT if "without" in codec else 74)
    if damage is gone and codec == "mjpeg":
        assert capture.damage is None  # no picture builds on another, and none came damaged
    else:
        assert capture.damage is not None


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg4", "mjpeg"])
def test_who_joins_in_the_middle_gets_nothing_before_it_is_whole(
    tmp_path: Path, codec: str
) -> None:
    path = write(
        tmp_path / "a.mkv", codec, lambda number, content: content if number > 26 else None
    )
    numbers, capture = live(path)
    assert numbers == list(range(27 if codec == "mjpeg" else 40, COUNT))
    assert capture.damage is None


def test_sound_beside_the_pictures_is_a_sign_of_life(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video, sound = (
            container.add_stream("mjpeg", rate=25),
            container.add_stream("aac", rate=8000),
        )
        video.width, video.height, video.pix_fmt = SIZE[1], SIZE[0], "yuvj420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(picture(number, SIZE), format="rgb24")
            noise = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            noise.sample_rate = 8000
            container.mux([*video.encode(frame), *sound.encode(noise)])
        container.mux([*video.encode(None), *sound.encode(None)])
    capture = LiveCapture(
        str(tmp_path / "a.mkv"), LiveOptions(hardware="off", options=(("fflags", "genpts"),))
    )
    seen = list(capture)
    capture.close()
    assert sum(one is not None for one in seen) == 20
    assert seen.count(None) >= 20
