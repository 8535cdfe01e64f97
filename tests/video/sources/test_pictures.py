"""A decoded frame as RGB is what PyAV makes of it, on any thread, and outlives the frame."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest

from bas_edge.video.sources.pictures import DecodedPicture, rgb_pixels

FORMATS = [
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuv444p",
    "nv12",
    "yuyv422",
    "rgb24",
    "bgr24",
    "gray",
    "yuv420p10le",
]


def frame_of(seed: int, width: int, height: int, name: str) -> av.VideoFrame:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=name)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(64, 48), (66, 50), (130, 98), (1282, 34)])
def test_equal_to_what_pyav_makes(name: str, size: tuple[int, int]) -> None:
    frame = frame_of(0, *size, name)
    pixels = rgb_pixels(frame)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, frame.to_ndarray(format="rgb24"))


@pytest.mark.parametrize("width", [1, 3, 17, 63, 65, 127, 333])
def test_odd_widths_have_padded_rows(width: int) -> None:
    frame = frame_of(1, width, 33, "yuv444p")
    pixels = rgb_pixels(frame)
    assert pixels.shape == (33, width, 3)
    assert pixels.strides[0] >= 3 * width
    assert pixels.strides[1:] == (3, 1)
    np.testing.assert_array_equal(pixels, frame.to_ndarray(format="rgb24"))


def test_many_threads_and_sizes_at_once() -> None:
    frames = [
        frame_of(seed, 32 + 2 * (seed % 11), 48, FORMATS[seed % len(FORMATS)]) for seed in range(60)
    ]
    expected = [frame.to_ndarray(format="rgb24") for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for pixels, true in zip(pool.map(rgb_pixels, frames), expected, strict=True):
                np.testing.assert_array_equal(pixels, true)


def test_the_pixels_outlive_the_frame_and_the_next_conversion() -> None:
    frame = frame_of(2, 66, 48, "yuv420p")
    true = frame.to_ndarray(format="rgb24")
    pixels = DecodedPicture(frame, None, 0.0, 0.0).pixels()
    del frame
    gc.collect()
    for seed in range(3, 23):  # the same size: the same converter
        rgb_pixels(frame_of(seed, 66, 48, "yuv420p"))
    np.testing.assert_array_equal(pixels, true)


def test_a_quarter_turn_is_applied() -> None:
    frame = frame_of(5, 66, 48, "rgb24")
    matrix = np.array([0, 1, 0, -1, 0, 0, 0, 0, 1 << 30], np.int32)
    turned = DecodedPicture(frame, matrix, 0.0, 0.0).pixels()
    np.testing.assert_array_equal(turned, np.rot90(frame.to_ndarray(format="rgb24"), -1))
