"""Histograms: exact counts, whatever the order and the batches of the values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bas_edge.quantization.histograms import BINS, Histogram, TensorStatistics

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
FLOATS = st.floats(-LARGEST, LARGEST, width=32)
USUAL = st.floats(-8, 8, width=32)
BATCHES = st.lists(st.lists(FLOATS | USUAL | st.just(0.0), max_size=12), min_size=1, max_size=5)


def counted(*batches: Sequence[float] | NDArray[np.float32]) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.add(np.array(batch, np.float32))
    return histogram


def reference(values: Sequence[float]) -> tuple[float, NDArray[np.int64]]:
    """(width, counts): each value in the bin that it is in, by exact arithmetic."""
    exponent = max((math.frexp(abs(v))[1] for v in values if v), default=0)
    width = 2.0**exponent / BINS
    counts = np.zeros(2 * BINS, np.int64)
    for value in values:
        counts[math.floor(value / width) + BINS] += 1  # powers of two divide float64 exactly
    return width, counts


@given(BATCHES)
@example([[0.0, 0.0], [1e-30], [-3.0]])  # zeros first, and then values that need narrow bins
@example([[1e-40]])  # less than a normal float32, and so is the width
@example([[-SMALLEST], [4096.0]])  # a negative value that a division in float32 would lose
@example([[LARGEST, -LARGEST, SMALLEST]])
@example([[-1.0], [-2.0], [-4.0]])
@example([[1.0, np.nextafter(np.float32(1), np.float32(0))], [-0.5, 0.5]])
@example([[-0.0]])
def test_counts_are_exact_and_need_no_order(batches: list[list[float]]) -> None:
    values = [float(np.float32(v)) for batch in batches for v in batch]
    width, counts = reference(values)
    for each in (batches, batches[::-1], [values], [values[::-1]], [[v] for v in values]):
        histogram = counted(*each)
        np.testing.assert_array_equal(histogram.counts, counts)
        assert histogram.total == len(values)
        assert histogram.width == width
        assert (histogram.low, histogram.high) == (min(values, default=0), max(values, default=0))


def test_bins_lie_between_their_edges() -> None:
    histogram = counted([-4.0, -3.9999, 0.0, 1.0, 3.9999, 4.0])
    edges = histogram.edges
    assert (edges[0], edges[BINS], edges[-1], len(edges)) == (-8.0, 0.0, 8.0, 2 * BINS + 1)
    filled = np.flatnonzero(histogram.counts)
    width = histogram.width  # 2^-8
    assert edges[filled].tolist() == [-4.0, 0.0, 1.0, 4 - width, 4.0]
    assert histogram.counts[filled].tolist() == [2, 1, 1, 1, 1]


def test_only_zeros() -> None:
    histogram = counted([0.0] * 5, [-0.0])
    assert (histogram.low, histogram.high, histogram.total) == (0, 0, 6)
    assert histogram.counts[BINS] == 6


def test_shape_does_not_matter_and_nothing_is_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    flat, shaped = counted(values.ravel()), Histogram()
    shaped.add(values)
    shaped.add(np.zeros((0, 4, 5), np.float32))
    np.testing.assert_array_equal(flat.counts, shaped.counts)
    assert shaped.total == 60


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_not_counted(bad: float) -> None:
    histogram = counted([1.0])
    with pytest.raises(ValueError, match="not finite"):
        histogram.add(np.array([0, bad, 1], np.float32))
    assert histogram.total == histogram.counts.sum() == 1


# To arrays and back


@given(BATCHES)
def test_a_round_trip_goes_on_counting(batches: list[list[float]]) -> None:
    first, rest = counted(batches[0]), batches[1:]
    restored = Histogram.from_arrays(first.to_arrays())
    for batch in rest:
        restored.add(np.array(batch, np.float32))
    whole = counted(*batches)
    np.testing.assert_array_equal(restored.counts, whole.counts)
    assert (restored.low, restored.high, restored.width) == (whole.low, whole.high, whole.width)


def test_arrays_are_a_copy() -> None:
    histogram = counted([1.0])
    arrays = histogram.to_arrays()
    histogram.add(np.ones(3, np.float32))
    assert arrays["counts"].sum() == 1


DAMAGE = {
    "total": ("facts", lambda a: np.add(a, [0, 0, 1, 0])),
    "low above high": ("facts", lambda a: a * [-1, -1, 1, 1]),
    "exponent": ("facts", lambda a: np.add(a, [0, 0, 0, 1])),
    "huge exponent": ("facts", lambda a: np.add(a, [0, 0, 0, 1e9])),
    "nan": ("facts", lambda a: np.add(a, [np.nan, 0, 0, 0])),
    "infinite": ("facts", lambda a: np.add(a, [0, np.inf, 0, 0])),
    "three facts": ("facts", lambda a: a[:3]),
    "text": ("facts", lambda a: a.astype("U9")),
    "half the bins": ("counts", lambda a: a[:BINS]),
    "floats": ("counts", lambda a: a.astype(np.float64)),
    "negative": ("counts", lambda a: np.where(a, a, -1)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_arrays_are_refused(damage: str) -> None:
    arrays = counted([0.5, 2.0, -1.0]).to_arrays()
    Histogram.from_arrays(arrays)
    name, change = DAMAGE[damage]
    with pytest.raises(ValueError, match="histogram"):
        Histogram.from_arrays({**arrays, name: change(arrays[name])})


# Statistics by channel


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3, 2), (6, 5, 1, 1)])
def test_channels(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).normal(2, 3, shape).astype(np.float32)
    whole, split = TensorStatistics(), TensorStatistics()
    whole.add(values)
    for part in (values[:1], values[1:1], values[1:]):
        split.add(part)
    rows = values.reshape(6, 5, -1).astype(np.float64)
    for each in (whole, split):
        np.testing.assert_array_equal(each.largest, np.abs(rows).max(axis=(0, 2)))
        # A float32 sum of six terms or fewer, of values below 16: half a step of 64 for each.
        np.testing.assert_allclose(each.mean, rows.mean(axis=(0, 2)), atol=6 * 64 * 2**-24)
        assert each.count == rows.shape[0] * rows.shape[2]
        np.testing.assert_array_equal(each.histogram.counts, whole.histogram.counts)


def test_no_values_have_a_mean_of_nothing() -> None:
    assert TensorStatistics().mean.shape == (0,)


def statistics() -> TensorStatistics:
    made = TensorStatistics()
    made.add(np.random.default_rng(2).normal(size=(2, 3, 4, 4)).astype(np.float32))
    return made


def test_statistics_go_to_arrays_and_back() -> None:
    made = statistics()
    restored = TensorStatistics.from_arrays(made.to_arrays())
    np.testing.assert_array_equal(restored.largest, made.largest)
    np.testing.assert_array_equal(restored.mean, made.mean)
    np.testing.assert_array_equal(restored.histogram.counts, made.histogram.counts)


BROKEN = {
    "two channels": ("largest", lambda a: a[:2]),
    "two dimensions": ("total", lambda a: a[:, None]),
    "integers": ("largest", lambda a: a.astype(np.int64)),
    "negative": ("largest", lambda a: -a),
    "nan": ("total", lambda a: a * np.nan),
    "infinite": ("largest", lambda a: a * np.inf),
    "another count": ("count", lambda a: a + 1),
    "many counts": ("count", lambda a: np.array([a, a])),
    "the histogram": ("facts", lambda a: a * 2),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_damaged_statistics_are_refused(damage: str) -> None:
    arrays = statistics().to_arrays()
    name, change = BROKEN[damage]
    with pytest.raises(ValueError, match=r"histogram|channels"):
        TensorStatistics.from_arrays({**arrays, name: change(arrays[name])})


@pytest.mark.parametrize("name", ["facts", "counts", "largest", "total", "count"])
def test_a_missing_array_is_a_key_error(name: str) -> None:
    arrays = statistics().to_arrays()
    del arrays[name]
    with pytest.raises(KeyError, match=name):
        TensorStatistics.from_arrays(arrays)
