"""Votes on the class, and on whether anything is there, apart from maps and boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bas_edge.video import Smoothing
from bas_edge.video.steady.class_vote import ClassVote, new_weight

OFF = Smoothing.named("off")


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@given(st.lists(st.floats(1e-3, 2), min_size=1, max_size=20), st.floats(0.05, 5))
def test_weights_multiply_to_that_of_the_whole_time(dts: list[float], time_s: float) -> None:
    left = np.prod([1 - new_weight(time_s, dt_s) for dt_s in dts])
    assert left == pytest.approx(np.exp(-sum(dts) / time_s), abs=1e-9)
    assert new_weight(0.0, dts[0]) == 1


def test_without_options_it_says_what_each_frame_says() -> None:
    vote = ClassVote(OFF, min_score=0.5)
    vote.start(scores(0.6, 0.4), found=True)
    for first in (0.45, 0.52, 0.3):
        vote.step(scores(first, 1 - first), True, 0.04)
        assert (vote.label, vote.found) == (first < 0.5, True)
    vote.step(scores(0.49, 0.49), False, 0.04)
    assert not vote.found


def test_a_frame_in_which_it_is_found_starts_the_wait_again() -> None:
    vote = ClassVote(replace(OFF, class_time_s=0.1, hold_s=0.5), min_score=0.5)
    vote.start(scores(0.55), found=True)
    vote.step(scores(0.1), False, 0.4)
    vote.step(scores(0.55), True, 0.001)  # the average stays low
    assert vote.scores[0] < 0.2
    vote.step(scores(0.1), False, 0.4)
    assert vote.found
    vote.step(scores(0.1), False, 0.2)
    assert not vote.found
