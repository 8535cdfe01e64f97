"""Camera motion between two pictures, maps moved with it, and scene cuts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bas_edge.video.steady.motion import Shift, shift_between, shift_map
from bas_edge.video.steady.scene_cut import likeness
from bas_edge.video.steady.small_picture import SMALL_SIZE, small_picture

HEIGHT, WIDTH = 360, 640
STILL = Shift(0.0, 0.0, trusted=False)


def scenery(seed: int) -> NDArray[np.float64]:
    """[3 H, 3 W] of 0 to 255: structure at every scale, as in photographs."""
    random = np.random.default_rng(seed)
    whole = np.zeros((3 * HEIGHT, 3 * WIDTH))
    for cells in (4, 12, 36, 108):
        coarse = random.normal(size=(cells, cells))
        rows = np.arange(3 * HEIGHT) * cells // (3 * HEIGHT)
        columns = np.arange(3 * WIDTH) * cells // (3 * WIDTH)
        whole += coarse[rows][:, columns]
    return (whole - whole.min()) / np.ptp(whole) * 255


SCENES = [scenery(seed) for seed in range(4)]


def view(scene: int, down: int = 0, right: int = 0) -> NDArray[np.uint8]:
    """What a camera sees in which things have moved by so many pixels."""
    top, left = HEIGHT - down, WIDTH - right
    grey = SCENES[scene][top : top + HEIGHT, left : left + WIDTH].astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


@settings(max_examples=40)
@given(
    scene=st.integers(0, 3),
    down=st.integers(-HEIGHT // 6, HEIGHT // 6),
    right=st.integers(-WIDTH // 6, WIDTH // 6),
)
def test_the_shift_of_the_camera_is_found(scene: int, down: int, right: int) -> None:
    before, after = small_picture(view(scene)), small_picture(view(scene, down, right))
    shift = shift_between(before, after)
    assert shift.trusted
    # Half a small pixel, which is 2.5 of these.
    assert shift.down * HEIGHT == pytest.approx(down, abs=2.5)
    assert shift.right * WIDTH == pytest.approx(right, abs=2.5)
    assert likeness(before, after, shift) > 0.8


def test_brightness_is_no_motion() -> None:
    before = view(0)
    after = (before * 0.6 + 40).astype(np.uint8)
    shift = shift_between(small_picture(before), small_picture(after))
    assert shift.trusted
    assert abs(shift.down) + abs(shift.right) < 0.002
    assert likeness(small_picture(before), small_picture(after), shift) > 0.95


def test_two_scenes_have_no_shift_and_are_not_alike() -> None:
    for first in range(4):
        for second in range(first):
            before, after = small_picture(view(first)), small_picture(view(second))
            shift = shift_between(before, after)
            assert shift == STILL
            assert likeness(before, after, shift) < 0.5


def test_pictures_that_show_nothing() -> None:
    black, white = (small_picture(np.full((90, 160, 3), v, np.uint8)) for v in (0, 255))
    some = small_picture(view(0))
    assert shift_between(black, some) == shift_between(some, white) == STILL
    assert likeness(black, white, STILL) == 1
    assert likeness(black, some, STILL) == likeness(some, black, STILL) == 0


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (1080, 1920)])
def test_a_frame_of_any_size_has_a_small_picture(size: tuple[int, int]) -> None:
    picture = small_picture(np.full((*size, 3), 90, np.uint8))
    assert picture.grey.shape == SMALL_SIZE
    assert (picture.grey == 90).all()


def test_the_small_picture_is_of_the_frame_as_it_lies() -> None:
    frame = np.zeros((90, 160, 3), np.uint8)
    frame[:45, 80:] = 200
    grey = small_picture(frame).grey
    assert (grey[:36, 64:] == 200).all()
    assert grey.sum() == 200 * 36 * 64


MAPS = np.random.default_rng(0).random((2, 9, 14)).astype(np.float32)


@given(down=st.integers(-10, 10), right=st.integers(-15, 15))
def test_whole_cells_move_exactly(down: int, right: int) -> None:
    moved, covered = shift_map(MAPS[0], down, right)
    expected = np.zeros_like(covered)
    for row in range(9):
        for column in range(14):
            if 0 <= row - down < 9 and 0 <= column - right < 14:
                expected[row, column] = True
                assert moved[row, column] == MAPS[0][row - down, column - right]
    np.testing.assert_array_equal(covered, expected)


@given(down=st.floats(-12, 12), right=st.floats(-12, 12))
def test_parts_of_cells_stay_in_range_and_a_flat_map_flat(down: float, right: float) -> None:
    moved, covered = shift_map(MAPS[1], down, right)
    assert moved.dtype == np.float32
    assert MAPS[1].min() <= moved.min()
    assert moved.max() <= MAPS[1].max()
    flat, _ = shift_map(np.full((9, 14), 0.7, np.float32), down, right)
    assert flat == pytest.approx(np.full((9, 14), 0.7), abs=1e-6)
    assert covered.sum() == rows_from_inside(9, down) * rows_from_inside(14, right)


def rows_from_inside(cells: int, shift: float) -> int:
    return sum(-0.5 <= cell - shift <= cells - 0.5 for cell in range(cells))


@given(shift=st.floats(-3, 3))
def test_a_smooth_map_moves_as_it_should(shift: float) -> None:
    places = np.arange(40.0)
    wave = np.sin(places / 3)[None, :].repeat(2, axis=0).astype(np.float32)
    moved, _ = shift_map(wave, 0.0, shift)
    np.testing.assert_allclose(moved[0, 6:-6], np.sin((places - shift) / 3)[6:-6], atol=0.01)
