from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bas_edge.errors import InputError
from bas_edge.ops import reference, resize_frame

SIDES = st.integers(1, 70)
SIZES = st.tuples(SIDES, SIDES)


def random_frame(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Noise with large areas of 0 and 255, where clipping and rounding show."""
    noise = np.random.default_rng(seed).integers(-200, 456, (*size, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def pillow(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Two resizes, so that Pillow cannot choose which axis goes first."""
    image = Image.fromarray(frame)
    narrowed = image.resize((size[1], image.height), Image.Resampling.BILINEAR)
    return np.asarray(narrowed.resize((size[1], size[0]), Image.Resampling.BILINEAR))


@settings(max_examples=80, deadline=None)
@given(source=SIZES, size=SIZES, seed=st.integers(0, 9))
@example(source=(1, 1), size=(1, 1), seed=0)
@example(source=(1, 1), size=(9, 5), seed=0)
@example(source=(70, 70), size=(1, 1), seed=0)
@example(source=(7, 9), size=(7, 9), seed=0)  # identity
@example(source=(7, 9), size=(7, 4), seed=0)  # one axis alone
@example(source=(7, 9), size=(4, 9), seed=0)
def test_equal_to_reference_and_to_pillow(
    path: str, source: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    frame = random_frame(source, seed)
    resized = resize_frame(frame, size)
    np.testing.assert_array_equal(resized, reference.resize_frame(frame, size))
    np.testing.assert_array_equal(resized, pillow(frame, size))


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((720, 1280), (224, 224)),
        ((1080, 607), (224, 224)),
        ((33, 4096), (31, 224)),
        ((4096, 35), (256, 256)),
        ((5, 32768), (3, 1)),  # more taps than 16-bit sums could hold
        ((100, 60), (999, 601)),
        ((375, 500), (256, 256)),
    ],
)
def test_equal_to_pillow_at_the_sizes_of_cameras(
    path: str, source: tuple[int, int], size: tuple[int, int]
) -> None:
    frame = random_frame(source)
    np.testing.assert_array_equal(resize_frame(frame, size), pillow(frame, size))


def test_4096_by_4096(path: str) -> None:
    frame = np.tile(random_frame((512, 512)), (8, 8, 1))
    np.testing.assert_array_equal(resize_frame(frame, (224, 224)), pillow(frame, (224, 224)))


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_a_flat_frame_keeps_its_level(path: str, level: int) -> None:
    frame = np.full((53, 67, 3), level, np.uint8)
    assert set(resize_frame(frame, (19, 101)).ravel().tolist()) == {level}


STRIDED = {
    "crop": lambda frame: frame[3:40, 5:50],
    "flipped channels": lambda frame: frame[..., ::-1],
    "flipped channels of a crop": lambda frame: frame[3:40, 5:50, ::-1],
    "upside down": lambda frame: frame[::-1],
    "mirrored": lambda frame: frame[:, ::-1],
    "every second pixel": lambda frame: frame[::2, ::2],
    "transposed": lambda frame: frame.swapaxes(0, 1),
    "planes": lambda frame: np.ascontiguousarray(frame.transpose(2, 0, 1)).transpose(1, 2, 0),
    "one row repeated": lambda frame: np.broadcast_to(frame[7], frame.shape),
    "one level repeated": lambda frame: np.broadcast_to(frame[7, 7, 0], frame.shape),
    "colours of an RGBA frame": lambda frame: np.dstack([frame, frame[..., :1]])[..., :3],
    "one pixel wide": lambda frame: frame[:, 4:5],
}


@pytest.mark.parametrize("layout", STRIDED)
@pytest.mark.parametrize("size", [(24, 31), (60, 70), (37, 20)])
def test_any_strides(path: str, layout: str, size: tuple[int, int]) -> None:
    frame = STRIDED[layout](random_frame((60, 70)))
    resized = resize_frame(frame, size)
    np.testing.assert_array_equal(resized, pillow(np.ascontiguousarray(frame), size))
    assert resized.flags.c_contiguous


def test_read_only_frames_are_read_and_results_are_new() -> None:
    frame = random_frame((8, 9))
    frame.flags.writeable = False
    same = resize_frame(frame, (8, 9))
    assert same.flags.writeable
    assert not np.shares_memory(same, frame)
    np.testing.assert_array_equal(same, frame)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"must be \[H, W, 3\], not the shape \(4, 4\)"),
        (np.zeros((4, 4, 1), np.uint8), r"not the shape \(4, 4, 1\)"),
        (np.zeros((4, 4, 4), np.uint8), r"not the shape \(4, 4, 4\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"not the shape \(1, 4, 4, 3\)"),
        (np.zeros((4, 4, 3), np.float32), "must be uint8 in 0 to 255, not float32"),
        (np.zeros((4, 4, 3), np.int8), "must be uint8 in 0 to 255, not int8"),
        (np.zeros((0, 4, 3), np.uint8), "sides from 1 to 32768 pixels"),
        (np.zeros((4, 0, 3), np.uint8), "sides from 1 to 32768 pixels"),
        (np.zeros((1, 32769, 3), np.uint8), "sides from 1 to 32768 pixels"),
        ([[[0, 0, 0]]], r"must be a NumPy array \[H, W, 3\], not list"),
    ],
)
def test_what_is_not_a_frame_is_refused(frame: NDArray[np.uint8], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resize_frame(frame, (2, 2))


def test_grey_frames_are_told_what_to_do() -> None:
    with pytest.raises(InputError) as caught:
        resize_frame(np.zeros((4, 4), np.uint8), (2, 2))
    assert caught.value.hint == (
        "Convert grey, palette or alpha images to RGB first: image.convert('RGB')."
    )
