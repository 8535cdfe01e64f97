from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bas_edge.engine.manifest import InputPolicy, ResizePolicy
from bas_edge.framing import PADDING, frame_to_input, place
from bas_edge.ops import resize_frame

POLICIES: list[ResizePolicy] = ["stretch", "letterbox", "centre_crop"]
SIDES = st.integers(1, 300)


def policy(resize: ResizePolicy, height: int = 32, width: int = 32) -> InputPolicy:
    return InputPolicy(height=height, width=width, resize=resize)


@pytest.mark.parametrize(
    ("resize", "shown", "target"),
    [
        ("stretch", (0, 0, 200, 100), (0, 0, 32, 32)),
        ("letterbox", (0, 0, 200, 100), (0, 8, 32, 24)),
        ("centre_crop", (50, 0, 150, 100), (0, 0, 32, 32)),
    ],
)
def test_a_wide_frame(
    resize: ResizePolicy, shown: tuple[int, ...], target: tuple[int, ...]
) -> None:
    placement = place((100, 200), policy(resize))
    assert (placement.shown, placement.target) == (shown, target)


@pytest.mark.parametrize(
    ("resize", "expected"),
    [
        ("stretch", (50.0, 25.0, 100.0, 75.0)),
        ("letterbox", (50.0, 0.0, 100.0, 100.0)),
        ("centre_crop", (75.0, 25.0, 100.0, 75.0)),
    ],
)
def test_a_box_in_frame_pixels(resize: ResizePolicy, expected: tuple[float, ...]) -> None:
    assert place((100, 200), policy(resize)).box_to_frame((8, 8, 16, 24)) == expected


def test_a_box_on_the_padding_is_nowhere_on_the_frame() -> None:
    placement = place((100, 200), policy("letterbox"))
    assert placement.box_to_frame((0, 0, 32, 8)) is None
    assert placement.box_to_frame((0, 0, 32, 9)) == (0.0, 0.0, 200.0, 6.25)


@pytest.mark.parametrize("resize", POLICIES)
@given(height=SIDES, width=SIDES, h=SIDES, w=SIDES)
@example(height=1, width=300, h=300, w=1)
def test_the_whole_input_is_what_was_shown(
    resize: ResizePolicy, height: int, width: int, h: int, w: int
) -> None:
    placement = place((height, width), policy(resize, h, w))
    x0, y0, x1, y1 = placement.shown
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert placement.box_to_frame((0, 0, w, h)) == pytest.approx((x0, y0, x1, y1))
    # Except when stretched, one side is used whole, and the other is what the aspect ratio
    # makes of it, to the nearest pixel and at least one.
    frame, target = (
        (width, height),
        (placement.target[2] - placement.target[0], placement.target[3] - placement.target[1]),
    )
    shown = (x1 - x0, y1 - y0)
    if resize == "letterbox":
        assert shown == frame
        assert any(
            target[a] == (w, h)[a] and nearest(target[1 - a], target[a] * frame[1 - a] / frame[a])
            for a in (0, 1)
        )
    elif resize == "centre_crop":
        assert target == (w, h)
        assert any(
            shown[a] == frame[a] and nearest(shown[1 - a], shown[a] * target[1 - a] / target[a])
            for a in (0, 1)
        )


def nearest(whole: int, exact: float) -> bool:
    return abs(whole - exact) <= 0.5 + 1e-9 or (whole == 1 and exact < 1)


@pytest.mark.parametrize("resize", POLICIES)
@given(
    height=st.integers(32, 300),
    width=st.integers(32, 300),
    corners=st.tuples(*[st.floats(0.3, 0.45)] * 2, *[st.floats(0.55, 0.7)] * 2),
)
def test_a_rectangle_survives_the_round_trip(
    resize: ResizePolicy, height: int, width: int, corners: tuple[float, ...]
) -> None:
    """Frame → input → the bright pixels' box → frame: within one input pixel of the start."""
    x0, x1 = (round(corner * width) for corner in corners[::2])
    y0, y1 = (round(corner * height) for corner in corners[1::2])
    placement = place((height, width), policy(resize, 64, 48))
    sx0, sy0, sx1, sy1 = placement.shown
    if not (sx0 < x0 and sy0 < y0 and sx1 > x1 and sy1 > y1):
        return  # a centred crop of an extreme aspect ratio cuts the rectangle
    scale_x, scale_y = placement.scale
    if (x1 - x0) < 2 * scale_x or (y1 - y0) < 2 * scale_y:
        return  # thinner than two input pixels, so none of them need be bright
    frame = np.zeros((height, width, 3), np.uint8)
    frame[y0:y1, x0:x1] = 255
    bright = frame_to_input(frame, placement)[:, :, 0] > 140  # above the padding's grey
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    box = placement.box_to_frame((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    assert box is not None
    reach = np.array([scale_x, scale_y] * 2) + 1
    assert (np.abs(np.array(box) - (x0, y0, x1, y1)) <= reach).all()


def test_stretch_is_one_resize() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    got = frame_to_input(frame, place((50, 70), policy("stretch", 24, 40)))
    np.testing.assert_array_equal(got, resize_frame(frame, (24, 40)))


def test_letterbox_centres_on_grey() -> None:
    frame = np.full((10, 40, 3), 255, np.uint8)
    got = frame_to_input(frame, place((10, 40), policy("letterbox", 20, 20)))
    assert (got[7:12] == 255).all()
    assert (got[:7] == PADDING).all()
    assert (got[12:] == PADDING).all()


def test_centre_crop_shows_the_middle() -> None:
    frame = np.zeros((10, 40, 3), np.uint8)
    frame[:, 15:25] = 255
    got = frame_to_input(frame, place((10, 40), policy("centre_crop", 10, 10)))
    assert (got == 255).all()


@pytest.mark.parametrize("resize", POLICIES)
@given(height=st.integers(1, 120), width=st.integers(1, 120), seed=st.integers(0, 99))
def test_the_mask_on_the_frame_agrees_with_the_box(
    resize: ResizePolicy, height: int, width: int, seed: int
) -> None:
    """Both come from the same input pixels, so they differ by half a frame pixel of rounding."""
    placement = place((height, width), policy(resize, 24, 40))
    rng = np.random.default_rng(seed)
    x0, y0 = int(rng.integers(0, 30)), int(rng.integers(0, 16))
    x1, y1 = x0 + int(rng.integers(4, 11)), y0 + int(rng.integers(4, 9))
    mask = np.zeros((24, 40), bool)
    mask[y0:y1, x0:x1] = True
    whole = placement.mask_to_frame(mask)
    assert whole.shape == (height, width)
    box = placement.box_to_frame((x0, y0, x1, y1))
    if box is None or not whole.any():
        assert box is None or box[2] - box[0] < 1 or box[3] - box[1] < 1
        assert not whole.any()
        return
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    got = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert np.abs(np.subtract(got, box)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("resize", POLICIES)
@given(height=st.integers(1, 120), width=st.integers(1, 120), seed=st.integers(0, 99))
def test_a_frame_pixel_has_the_value_of_the_input_pixel_under_its_centre(
    resize: ResizePolicy, height: int, width: int, seed: int
) -> None:
    placement = place((height, width), policy(resize, 24, 40))
    mask = np.random.default_rng(seed).integers(0, 5, (24, 40), np.uint8)
    (scale_x, scale_y), (left, top, right, bottom) = placement.scale, placement.shown
    columns = ((np.arange(right - left) + 0.5) / scale_x).astype(int) + placement.target[0]
    rows = ((np.arange(bottom - top) + 0.5) / scale_y).astype(int) + placement.target[1]
    expected = np.zeros((height, width), np.uint8)
    expected[top:bottom, left:right] = mask[rows][:, columns]
    whole, counts = placement.counted_on_frame(mask)
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(counts, np.bincount(expected.reshape(-1), minlength=256))
    inside = placement.mask_to_frame(mask > 2)
    assert inside.dtype == np.bool_
    np.testing.assert_array_equal(inside[top:bottom, left:right], mask[rows][:, columns] > 2)
