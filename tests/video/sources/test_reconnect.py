"""Waits grow, stay within their bounds, and differ from camera to camera."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bas_edge.errors import InputError
from bas_edge.video import Reconnect


@given(
    first_s=st.floats(0, 100),
    factor=st.floats(1, 10),
    further_s=st.floats(0, 1000),
    jitter=st.floats(0, 1),
    failures=st.integers(1, 10_000),
    seed=st.integers(0, 1000),
)
def test_every_wait_is_within_its_bounds(
    first_s: float, factor: float, further_s: float, jitter: float, failures: int, seed: int
) -> None:
    longest_s = first_s + further_s
    reconnect = Reconnect(first_s=first_s, factor=factor, longest_s=longest_s, jitter=jitter)
    wait_s = reconnect.wait_s(failures, random.Random(seed))
    most = min(longest_s, first_s * factor ** min(failures - 1, 64))
    assert most * (1 - jitter) * (1 - 1e-9) <= wait_s <= most  # one rounding of a product


def test_waits_double_until_the_longest() -> None:
    reconnect = Reconnect(first_s=1, factor=2, longest_s=5, jitter=0)
    assert [reconnect.wait_s(n, random.Random(0)) for n in range(1, 6)] == [1, 2, 4, 5, 5]


def test_two_cameras_do_not_come_back_together() -> None:
    waits = {Reconnect().wait_s(4, random.Random(seed)) for seed in range(50)}
    assert len(waits) == 50
    assert min(waits) < 5 < 7 < max(waits) <= 8  # drawn from 4 to 8 s


@pytest.mark.parametrize(
    "options",
    [
        {"first_s": -1},
        {"first_s": math.nan},
        {"first_s": math.inf},
        {"factor": 0.5},
        {"longest_s": 0.5},
        {"jitter": 1.5},
        {"calm_s": -1},
        {"attempts": -1},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(options))} is .*, but must be"):
        Reconnect(**options)
