"""The cut at which boxes of frames and of windows into them agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics.view_agreement import (
    CUTS,
    ViewAgreement,
    random_windows,
    view_agreement,
)
from bas_edge.ops import upsample_maps

SIDE = 64


def scenes(count: int, object_level: float, clutter: float) -> NDArray[np.float32]:
    """Maps at full size: one bright rectangle each, spots of clutter elsewhere, a faint floor."""
    rng = np.random.default_rng(4)
    maps = rng.uniform(0, 0.05, (count, SIDE, SIDE)).astype(np.float32)
    for one in maps:
        for y, x in rng.integers(0, SIDE - 14, (2, 2)):
            one[y : y + 14, x : x + 14] = clutter
        y, x = rng.integers(4, 30, 2)
        height, width = rng.integers(18, 30, 2)
        one[y : y + height, x : x + width] = object_level
        one[y + 2 : y + 8, x + 2 : x + 8] = 1.0  # its most telling part
    return maps


def seen_through(maps: NDArray[np.float32], windows: NDArray[np.int64]) -> NDArray[np.float32]:
    """What a network that keeps the level of each pixel would give for each window."""
    return np.stack(
        [
            np.stack(
                [
                    upsample_maps(one[None, y0:y1, x0:x1].copy(), (SIDE, SIDE))[0]
                    for one, (x0, y0, x1, y1) in zip(maps, window.tolist(), strict=True)
                ]
            )
            for window in windows
        ]
    )


@pytest.mark.parametrize(("object_level", "clutter"), [(0.5, 0.2), (0.8, 0.5), (0.3, 0.1)])
def test_it_cuts_between_clutter_and_object(object_level: float, clutter: float) -> None:
    maps = scenes(60, object_level, clutter)
    windows = random_windows(len(maps), 3, SIDE)
    found = view_agreement(maps, seen_through(maps, windows), windows, SIDE)
    assert clutter < found.cut < object_level


def test_a_worked_example() -> None:
    """Two frames of 8 × 8; a window shows their left halves.

    Boxes are (0, 0, 4, 4) and (2, 2, 8, 8), of which the window shows (2, 2, 4, 8). In the window,
    the first is found as it is, and of the second only the lower half of that. Own IoU: 1 and 1/2;
    with the other's: 4 / 24 of (0, 0, 4, 4) and (2, 2, 4, 8), and 0 of (2, 5, 4, 8) and the first.
    """
    whole, view = np.zeros((2, 2, 8, 8), np.float32)
    whole[0, :4, :4] = whole[1, 2:, 2:] = 1
    view[0, :4, :] = 1  # the window is half as wide: stretched, (0, 0, 8, 4)
    view[1, 5:, 4:] = 1
    windows = np.array([[[0, 0, 4, 8], [0, 0, 4, 8]]])
    found = view_agreement(whole, view[None], windows, 8, cuts=np.array([0.5]))
    assert found.observed == pytest.approx(np.array([[(1 + 1 / 2) / 2]]))
    assert found.chance == pytest.approx(np.array([[(4 / 24 + 0) / 2]]))
    assert found.kappa == pytest.approx([(3 / 4 - 1 / 12) / (1 - 1 / 12)])


def test_boxes_of_whole_frames_agree_only_by_chance() -> None:
    maps = np.random.default_rng(0).uniform(0.5, 1, (6, 8, 8)).astype(np.float32)
    maps[:, 0, 0] = 0  # everything else lies above a low cut
    windows = np.tile([0, 0, SIDE, SIDE], (1, 6, 1))
    found = view_agreement(maps, maps[None], windows, SIDE, cuts=np.array([0.01]))
    np.testing.assert_array_equal(found.observed, 1)
    np.testing.assert_array_equal(found.kappa, 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 3))
def test_the_order_of_the_frames_does_not_matter(seed: int, frames: int, views: int) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.random((frames, 7, 7), np.float32)
    seen = rng.random((views, frames, 7, 7), np.float32)
    windows = random_windows(frames, views, 56)
    found = view_agreement(whole, seen, windows, 56, cuts=CUTS[::9])
    order = rng.permutation(frames)
    again = view_agreement(whole[order], seen[:, order], windows[:, order], 56, cuts=CUTS[::9])
    np.testing.assert_allclose(again.kappa, found.kappa, atol=1e-9)
    assert (found.kappa <= 1).all()


def test_the_cut_is_the_middle_of_the_peak() -> None:
    observed = np.full((1, 45), 0.3)
    observed[0, 35] = 0.9  # alone: noise
    observed[0, 25:31] = 0.795  # nearly as good, but another peak
    observed[0, 8:17] = 0.8
    found = ViewAgreement(CUTS, observed, np.zeros((1, 45)))
    assert found.cut == pytest.approx(CUTS[12])
    for chance in (0.0, 0.5):  # no cut is better than chance
        none = ViewAgreement(CUTS, np.zeros((1, 45)), np.full((1, 45), chance))
        assert none.cut == CUTS[0]


def test_views_are_averaged_after_the_correction_for_chance() -> None:
    observed, chance = np.array([[0.9, 0.5], [0.4, 0.4]]), np.array([[0.8, 0.0], [0.2, 0.4]])
    np.testing.assert_allclose(
        ViewAgreement(CUTS[:2], observed, chance).kappa, [(0.5 + 0.25) / 2, (0.5 + 0) / 2]
    )


@pytest.mark.parametrize("side", [16, 224])
def test_windows_lie_inside_and_are_always_the_same(side: int) -> None:
    windows = random_windows(50, 2, side)
    assert windows.shape == (2, 50, 4)
    assert windows.min() >= 0
    assert windows.max() <= side
    sides = windows[..., 2:] - windows[..., :2]
    np.testing.assert_array_equal(sides[0], round(0.675 * side))
    np.testing.assert_array_equal(sides[1], round(0.825 * side))
    np.testing.assert_array_equal(random_windows(50, 2, side), windows)


def test_one_frame_has_nothing_to_compare_with() -> None:
    maps = np.ones((1, 4, 4), np.float32)
    with pytest.raises(InputError, match="Boxes of 1 images cannot be compared"):
        view_agreement(maps, maps[None], np.array([[[0, 0, 4, 4]]]), 4)
