from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics.bas_protocol import BasProtocol
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.max_box_acc import max_box_acc
from bas_edge.metrics.threshold import (
    Candidate,
    choose_candidate,
    lambda_criterion,
    split_halves,
    sweep_candidates,
)


@settings(max_examples=20)
@given(
    keys=st.lists(st.text("ab/1", max_size=5), max_size=20, unique=True), seed=st.integers(0, 99)
)
def test_halves_are_even_and_ignore_the_order(keys: list[str], seed: int) -> None:
    half = split_halves(keys)
    assert half.sum() == len(keys) // 2
    shuffled = np.random.default_rng(seed).permutation(len(keys))
    np.testing.assert_array_equal(split_halves([keys[n] for n in shuffled]), half[shuffled])


def test_halves_are_the_same_on_every_machine() -> None:
    keys = [f"val/{n:03d}.jpg" for n in range(6)]
    assert split_halves(keys).tolist() == PINNED


PINNED = [True, False, False, True, False, True]


def truth_of(maps: NDArray[np.float32], box: tuple[float, ...]) -> GroundTruth:
    size = (maps.shape[1], maps.shape[2])
    return GroundTruth.stretched([np.array([box])] * len(maps), [size] * len(maps), size)


def test_candidates_of_both_rules_in_one_sweep() -> None:
    maps = np.zeros((2, 6, 6), np.float32)
    maps[:, 1:5, 1:5] = 0.4
    maps[:, 2:4, 2:4] = 1.0
    protocol = BasProtocol((6, 6))
    candidates, ious = sweep_candidates(
        protocol,
        maps,
        truth_of(maps, (1, 1, 5, 5)),
        thresholds=np.array([0.1, 0.5]),
        factors=np.array([1.0, 2.0]),
    )
    assert candidates == [
        Candidate(rule="fixed", value=0.1),
        Candidate(rule="fixed", value=0.5),
        Candidate(rule="mean", value=1.0),  # the mean is 8.8 / 36 = 0.24
        Candidate(rule="mean", value=2.0),
    ]
    np.testing.assert_array_equal(ious.largest[:, 0], [1.0, 0.25, 1.0, 0.25])


def test_choice_breaks_ties_by_the_other_levels_and_then_by_order() -> None:
    protocol = BasProtocol((4, 4))
    ious = np.array([[0.4, 0.9], [0.6, 0.6], [0.9, 0.6], [0.9, 0.6]])
    assert choose_candidate(ious, protocol) == 2


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(InputError, match="from 3 candidates on 0 images"):
        choose_candidate(np.zeros((3, 0)), BasProtocol((4, 4)))


def test_oracle_finds_the_cut_that_separates() -> None:
    maps = np.full((3, 8, 8), 0.1, np.float32)
    maps[:, 0, 0] = 0.0
    maps[:, 2:6, 2:6] = np.array([0.5, 0.7, 1.0], np.float32)[:, None, None]
    maps[:, 7, 7] = 1.0
    protocol = BasProtocol((8, 8))
    grid = np.array([0.05, 0.3, 0.6, 0.95])
    sweep = protocol.sweep(maps, truth_of(maps, (2, 2, 6, 6)), grid)
    best = max_box_acc(sweep, grid, protocol)
    assert (best.accuracy, best.threshold) == (100.0, 0.3)


def test_sweep_and_grid_must_agree() -> None:
    protocol = BasProtocol((4, 4))
    maps = np.zeros((1, 4, 4), np.float32)
    sweep = protocol.sweep(maps, truth_of(maps, (0, 0, 1, 1)), np.array([0.1]))
    with pytest.raises(InputError, match=r"\[1, 1\] \(cuts, images\) does not fit 2 thresholds"):
        max_box_acc(sweep, np.array([0.1, 0.2]), protocol)


def test_lambda_trades_area_against_what_is_left() -> None:
    grid = np.array([0.1, 0.3, 0.5])
    ratio = np.array([[0.00, 0.05, 0.6], [0.00, 0.15, 0.6]])
    area = np.array([[0.9, 0.3, 0.1], [0.9, 0.3, 0.1]])
    assert lambda_criterion(ratio, area, grid, 0.0) == 0.1
    assert lambda_criterion(ratio, area, grid, 1.0) == 0.3
    assert lambda_criterion(ratio, area, grid, 9.0) == 0.5


def test_lambda_takes_the_first_of_equal_cuts() -> None:
    flat = np.zeros((2, 3))
    assert lambda_criterion(flat, flat, np.array([0.2, 0.4, 0.6]), 1.0) == 0.2


@pytest.mark.parametrize(
    ("ratio", "area", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2)), r"ratio \[2, 3\], area \[2, 2\] and grid \[3\]"),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), "finite curves"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "at least one image"),
    ],
)
def test_unusable_curves_are_refused(
    ratio: NDArray[np.float64], area: NDArray[np.float64], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        lambda_criterion(ratio, area, np.arange(3) / 3, 0.5)
