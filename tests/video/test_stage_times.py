"""Percentiles from the histogram stay within its one per cent bins."""

from __future__ import annotations

import numpy as np
import pytest

from bas_edge.video.stage_times import StageTimes


@pytest.mark.parametrize("percent", [1, 50, 90, 99, 100])
def test_percentiles_are_within_a_bin(percent: float) -> None:
    times_ms = np.random.default_rng(0).lognormal(2, 1, 5000)
    histogram = StageTimes()
    for time_ms in times_ms:
        histogram.add(time_ms)
    exact = np.percentile(times_ms, percent, method="inverted_cdf")
    assert histogram.percentile(percent) == pytest.approx(exact, rel=0.006)


def test_no_times() -> None:
    assert StageTimes().percentile(50) == 0.0


@pytest.mark.parametrize("time_ms", [0.0, -1.0, 1e9])
def test_times_outside_the_range_count_at_its_ends(time_ms: float) -> None:
    histogram = StageTimes()
    histogram.add(time_ms)
    assert 1e-3 <= histogram.percentile(50) <= 1.01e5
