"""Heat lies where the network looked, whatever the resize policy."""

from __future__ import annotations

import numpy as np
import pytest

from bas_edge.engine.manifest import InputPolicy, ResizePolicy
from bas_edge.framing import frame_to_input, place
from bas_edge.overlay import heat_on_frame, heat_over, seen_on_frame


def policy(resize: ResizePolicy) -> InputPolicy:
    return InputPolicy(height=32, width=32, resize=resize)


def test_stretched_cells_keep_their_place() -> None:
    cells = np.array([[0, 1], [2, 3]], np.float32)
    heat = heat_on_frame(cells, place((10, 90), policy("stretch")))
    assert heat.tolist() == [[0, 85], [170, 255]]


def test_a_flat_map_is_0_and_limits_clip() -> None:
    placement = place((8, 8), policy("stretch"))
    assert not heat_on_frame(np.full((3, 3), 7, np.float32), placement).any()
    cells = np.array([[-1, 0, 0.5, 2]], np.float32)
    assert heat_on_frame(cells, placement, (0.0, 1.0)).tolist() == [[0, 0, 128, 255]]


def test_letterbox_padding_is_left_out() -> None:
    """A frame twice as wide as high lies in the middle half of the rows."""
    cells = np.zeros((8, 8), np.float32)
    cells[:2], cells[6:] = 5, 5  # hot on the padding alone
    cells[2:6, :4] = 10
    heat = heat_on_frame(cells, place((20, 40), policy("letterbox")))
    assert heat.shape == (8, 8)
    assert (heat[1:7, :3] == 255).all()
    assert (heat[1:7, 5:] == 0).all()


def test_what_a_centre_crop_left_out_is_0() -> None:
    cells = np.full((8, 8), 2, np.float32)
    cells[0, 0] = 0
    heat = heat_on_frame(cells, place((20, 40), policy("centre_crop")))
    assert (heat[:, [0, 1, 6, 7]] == 0).all()
    assert (heat[4:, 3:5] == 255).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 9)])
def test_hot_pixels_turn_orange_and_cold_ones_dark(shape: tuple[int, int]) -> None:
    grey = np.full((12, 20, 3), 100, np.uint8)
    cold = heat_over(grey, np.zeros(shape, np.uint8), 1.0)
    hot = heat_over(grey, np.full(shape, 255, np.uint8))
    assert (cold == 50).all()
    assert (heat_over(grey, np.full(shape, 255, np.uint8), 0.0) == 100).all()
    assert (hot[..., 0] > hot[..., 1]).all()
    assert (hot[..., 1] > hot[..., 2]).all()


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "centre_crop"])
def test_what_the_network_saw_lies_where_it_was(resize: ResizePolicy) -> None:
    """A frame that is red on the left and blue on the right is so again, where it was seen."""
    frame = np.zeros((60, 120, 3), np.uint8)
    frame[:, :60, 0] = frame[:, 60:, 2] = 255
    placement = place((60, 120), policy(resize))
    again = seen_on_frame(frame_to_input(frame, placement), placement, longest=40)
    assert again.shape == (20, 40, 3)
    first = 11 if resize == "centre_crop" else 1  # the middle square of it
    assert (again[1:-1, first:17] == [255, 0, 0]).all()
    assert (again[1:-1, 23:-first] == [0, 0, 255]).all()
    assert resize != "centre_crop" or not again[:, :9].any()
