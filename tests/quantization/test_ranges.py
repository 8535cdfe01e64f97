"""Calibration methods: against brute force, and what each does with one far value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bas_edge.quantization.codes import Codes
from bas_edge.quantization.histograms import BINS, Histogram
from bas_edge.quantization.ranges import METHODS, tensor_range

BOTH = pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
EVERY = pytest.mark.parametrize("method", METHODS)


def counted(values: NDArray[np.float32]) -> Histogram:
    histogram = Histogram()
    histogram.add(np.asarray(values, np.float32))
    return histogram


def normal(count: int = 20_000, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, count).astype(np.float32)


def test_the_methods_have_names() -> None:
    assert list(METHODS) == ["min-max", "percentile-99.99", "percentile-99.9", "mse", "entropy"]


@BOTH
@EVERY
@given(values=st.lists(st.floats(-100, 100, width=32), max_size=40))
@example(values=[])
@example(values=[0.0, 0.0])
@example(values=[2.5])
@example(values=[-2.5, -2.5])
@example(values=[1e-30, -1e-38, 0.0])
def test_a_range_contains_0_and_is_no_wider_than_the_values(
    method: str, symmetric: bool, values: list[float]
) -> None:
    single = np.array(values, np.float32)
    low, high = tensor_range(counted(single), method, symmetric=symmetric)
    values = single.tolist()
    assert min([0, *values]) <= low <= 0 <= high <= max([0, *values])
    if not any(values):
        assert (low, high) == (0, 0)


@BOTH
def test_min_max_is_exact(symmetric: bool) -> None:
    values = normal()
    found = tensor_range(counted(values), "min-max", symmetric=symmetric)
    assert found == (values.min(), values.max())


@BOTH
@EVERY
@pytest.mark.parametrize("value", [3.0, -3.0, 1e-30, 1e30])
def test_a_constant_tensor_keeps_its_value(method: str, symmetric: bool, value: float) -> None:
    value = float(np.float32(value))
    found = tensor_range(counted(np.full(100, value)), method, symmetric=symmetric)
    reach = max(found, key=abs)
    assert reach == pytest.approx(value, rel=1 / 100)  # mse may give it the code -128 of 127


@BOTH
@pytest.mark.parametrize("percent", [99.9, 99.99])
@pytest.mark.parametrize("sides", ["both", "above", "below"])
def test_percentiles_are_those_of_numpy(percent: float, sides: str, symmetric: bool) -> None:
    values = normal(100_000)
    if sides != "both":
        values = np.abs(values) * (1 if sides == "above" else -1)
    histogram = counted(values)
    low, high = tensor_range(histogram, f"percentile-{percent:g}", symmetric=symmetric)
    lost = 100 - percent
    ends = {"both": (lost / 2, 100 - lost / 2), "above": (0, percent), "below": (lost, 100)}[sides]
    expected = np.percentile(values, ends)
    if sides == "above":
        expected[0] = 0
    if sides == "below":
        expected[1] = 0
    # A bin is the finest that a histogram knows; NumPy looks between two values of 10 in the tail.
    gap = histogram.width + np.diff(np.sort(np.abs(values)))[-15:-5].max()
    np.testing.assert_allclose((low, high), expected, atol=gap)


def fake_quantized(
    values: NDArray[np.float32], low: float, high: float, symmetric: bool
) -> NDArray[np.float64]:
    flavour = "tensorrt" if symmetric else "onnxruntime"
    codes = Codes.covering((low, high), flavour)
    least, most = (-128, 127) if symmetric else (0, 255)
    exact = values.astype(np.float64) / float(codes.scale)
    rounded = np.clip(np.rint(exact) + codes.zero, least, most) - codes.zero
    restored: NDArray[np.float64] = rounded * float(codes.scale)
    return restored


@BOTH
@pytest.mark.parametrize("kind", ["normal", "one-sided", "far", "uniform"])
def test_mse_is_as_good_as_trying_every_range(kind: str, symmetric: bool) -> None:
    rng = np.random.default_rng(4)
    values = {
        "normal": normal(),
        "one-sided": np.maximum(normal(), 0),
        "far": np.append(normal(100_000), np.float32(14)),
        "uniform": rng.uniform(-1, 2, 20_000).astype(np.float32),
    }[kind]

    def error(low: float, high: float) -> float:
        return float(((fake_quantized(values, low, high, symmetric) - values) ** 2).mean())

    low, high = float(values.min()), float(values.max())
    shares = np.geomspace(0.1, 1, 15)
    best = min(error(low * a, high * b) for a in shares for b in shares)
    found = tensor_range(counted(values), "mse", symmetric=symmetric)
    assert error(*found) <= 1.1 * best  # it tries one limit for both ends, not each pair
    if kind == "far":
        assert error(*found) < 0.9 * error(low, high)  # clipping matters here


def divergence(values: NDArray[np.float32], reach: float, levels: int) -> float:
    """KL of the values' distribution to its quantized one, in as many bins as the histogram."""
    width = counted(values).width
    bins = np.bincount(np.floor(np.abs(values) / width).astype(int), minlength=BINS).astype(float)
    bins[0] = bins[1]
    edge = round(reach / width)
    clipped = bins[:edge].copy()
    clipped[-1] += bins[edge:].sum()
    spread = np.zeros(edge)
    for level in range(levels):
        mine = [at for at in range(edge) if at * levels // edge == level]
        filled = [at for at in mine if bins[at] > 0]
        for at in filled:
            spread[at] = sum(bins[mine]) / len(filled)
    p, q = clipped / clipped.sum(), spread / spread.sum()
    q = np.where((q == 0) & (p > 0), 1e-12, q)
    return float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))


@BOTH
def test_entropy_is_as_good_as_trying_every_range(symmetric: bool) -> None:
    values = np.abs(np.random.default_rng(4).standard_t(4, 4000)).astype(np.float32)
    levels = 128 if symmetric else 256
    width = counted(values).width
    last = int(values.max() / width) + 1
    candidates = [*range(levels, last, 64), last]
    best = min(divergence(values, edge * width, levels) for edge in candidates)
    low, high = tensor_range(counted(values), "entropy", symmetric=symmetric)
    assert low == 0
    found = divergence(values, min(last, round(high / width)) * width, levels)
    assert found <= best * (1 + 1e-9)


@BOTH
@EVERY
@pytest.mark.parametrize("sign", [1, -1])
def test_one_far_value_is_clipped_by_all_but_min_max(
    method: str, symmetric: bool, sign: int
) -> None:
    values = normal(200_000)
    values[7] = 20 * sign
    found = tensor_range(counted(values), method, symmetric=symmetric)
    reach = max(found, key=abs)
    if method == "min-max":
        assert reach == 20 * sign
    else:
        assert 2.5 < max(map(abs, found)) < 16


@BOTH
@EVERY
def test_order_and_scale_do_not_matter(method: str, symmetric: bool) -> None:
    values = normal()
    found = tensor_range(counted(values), method, symmetric=symmetric)
    again = tensor_range(counted(values[::-1] * np.float32(4)), method, symmetric=symmetric)
    assert again == (4 * found[0], 4 * found[1])
