"""Percentiles from the histogram stay within its one per cent bins."""

from __future__ import annotations

import numpy as np
import pytest

from bas_edge.video.stage_times import BOUNDS_MS, StageTimes


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


def test_a_new_problem_is_seen_within_a_minute_however_long_it_went_well() -> None:
    now = [0.0]
    times = StageTimes(lambda: now[0])
    for _ in range(10_000):
        times.add(20.0)
        now[0] += 0.04
    assert times.summary().recent_ms["p95"] == pytest.approx(20, rel=0.006)
    for _ in range(1500):
        times.add(900.0)
        now[0] += 0.04
    recent = times.summary().recent_ms
    assert recent == pytest.approx({"p50": 900, "p90": 900, "p95": 900}, rel=0.006)
    assert times.percentile(50) == pytest.approx(20, rel=0.006), "of the whole run"


@pytest.mark.parametrize(("after_s", "there"), [(49.9, True), (60.0, False), (3600.0, False)])
def test_what_is_recent_is_forgotten_after_a_minute_and_the_whole_is_not(
    after_s: float, there: bool
) -> None:
    now = [10.0 * 7]  # where one part of a minute begins
    times = StageTimes(lambda: now[0])
    times.add(5.0)
    now[0] += after_s
    summary = times.summary()
    assert bool(summary.recent_ms) is there
    assert (summary.count, summary.sum_ms) == (1, 5.0)


def test_the_histogram_counts_what_is_at_most_as_long_as_each_bound() -> None:
    times = StageTimes()
    for bound in BOUNDS_MS:
        times.add(0.98 * bound)
        times.add(1.02 * bound)
    times.add(1e6)
    summary = times.summary()
    assert summary.at_most == tuple(range(1, 2 * len(BOUNDS_MS), 2))
    assert summary.count == 2 * len(BOUNDS_MS) + 1
    assert summary.sum_ms == pytest.approx(2 * sum(BOUNDS_MS) + 1e6)
