"""Scaling channels between layers: nothing changes in float, and eight bits suffice again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_nets import Net, mobile, noise, quantize, run, sqnr_db, statistics

from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.quantization.equalize import equalize
from bas_edge.quantization.layers import find_layers
from bas_edge.quantization.report import EqualizedTensor

FRAMES = noise(8)
CHANNELS = 6


def equalized(
    model: bytes, frames: NDArray[np.uint8] = FRAMES
) -> tuple[bytes, dict[str, EqualizedTensor]]:
    graph = OnnxGraph.read(model)
    largest = {name: each.largest for name, each in statistics(model, frames).items()}
    found = equalize(graph, find_layers(graph), largest)
    assert [one.spread_before for one in found] == sorted(
        (one.spread_before for one in found), reverse=True
    )
    return graph.serialize(), {one.name: one for one in found}


def assert_same_function(before: bytes, after: bytes, frames: NDArray[np.uint8] = FRAMES) -> None:
    """Up to float32: weights and sums are each rounded at 2^-24 of values of the outputs' size."""
    exact, got = run(before, frames), run(after, frames)
    for name, value in exact.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=2e-5 * np.abs(value).max())


def chain(
    scales: NDArray[np.float32],
    between: Callable[[Net, str], str],
    *,
    depthwise: bool = False,
) -> Net:
    """first -> `between` -> second, whose channels are scaled by `scales` and back."""
    net = Net(2)
    x = between(net, net.conv(net.pixels(), (CHANNELS, 3, 3, 3), name="first"))
    groups = CHANNELS if depthwise else 1
    x = net.conv(x, (CHANNELS, CHANNELS // groups, 3, 3), name="second", group=groups)
    net.add("Identity", net.conv(x, (2, CHANNELS, 1, 1), name="third"), name="out")
    column = np.reshape(scales, (-1, 1, 1, 1))
    net.constants["first.w"] = (net.constants["first.w"] * column).astype(np.float32)
    net.constants["first.b"] = (net.constants["first.b"] * scales).astype(np.float32)
    back = column if depthwise else np.reshape(scales, (1, -1, 1, 1))
    net.constants["second.w"] = (net.constants["second.w"] / back).astype(np.float32)
    return net


def relu(net: Net, x: str) -> str:
    return net.add("Relu", x, name="act")


def nothing(net: Net, x: str) -> str:
    return x


def pooled(net: Net, x: str) -> str:
    x = net.add("AveragePool", relu(net, x), name="average", kernel_shape=[2, 2])
    x = net.add("MaxPool", x, name="most", kernel_shape=[2, 2])
    pads = net.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    return net.add("Pad", x, pads, name="padded")


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("between", [relu, nothing, pooled])
@settings(max_examples=15)
@given(powers=st.lists(st.floats(-10, 10), min_size=CHANNELS, max_size=CHANNELS))
@example(powers=[10, 0, 0, 0, 0, 0])
@example(powers=[-10, -10, -10, -10, -10, 10])
@example(powers=[0] * CHANNELS)
def test_the_function_does_not_change(
    between: Callable[[Net, str], str], depthwise: bool, powers: list[float]
) -> None:
    model = chain(np.exp2(np.float32(powers)), between, depthwise=depthwise).model(out=4)
    after, found = equalized(model)
    assert_same_function(model, after)
    if 2 ** max(powers) > 8 * np.median(np.exp2(powers)):
        (one,) = [one for one in found.values() if one.producer == "first"]
        assert one.consumers == ("second",)
        assert one.spread_after <= one.spread_before


@pytest.mark.parametrize("flavour", ["onnxruntime", "tensorrt"])
@pytest.mark.parametrize("between", [relu, pooled])
def test_a_channel_a_thousand_times_wider_is_found_and_cured(
    between: Callable[[Net, str], str], flavour: str
) -> None:
    scales = np.ones(CHANNELS, np.float32)
    plain = chain(scales, between).model(out=4)
    scales[2] = 1000
    model = chain(scales, between).model(out=4)
    after, found = equalized(model)
    assert next(iter(found)) == "act"  # the widest first
    assert found["act"].spread_before > 300
    assert found["act"].spread_after < 4
    exact = run(model, FRAMES)["out"]
    usual, spoilt, cured = (
        sqnr_db(exact, run(quantize(m, flavour, FRAMES), FRAMES)["out"])
        for m in (plain, model, after)
    )
    assert spoilt < usual - 15
    assert cured > usual - 2


def test_only_what_reaches_far_is_scaled_and_only_down_to_twice_the_median() -> None:
    """The others keep their codes, and the room above what calibration saw of them."""
    graph = OnnxGraph.read(chain(np.ones(CHANNELS, np.float32), relu, depthwise=True).model(out=4))
    before = graph.weights(graph.node("first"))
    (one,) = equalize(graph, find_layers(graph), {"act": np.array([9.0, 2, 1, 1, 0.5, 1e-30])})
    ratio = (graph.weights(graph.node("first")) / before).reshape(CHANNELS, -1).mean(axis=1)
    np.testing.assert_allclose(ratio, [2 / 9, 1, 1, 1, 1, 1], rtol=1e-6)
    assert (one.spread_before, one.spread_after) == pytest.approx((9, 2))


def test_what_would_hardly_shrink_is_left_alone() -> None:
    graph = OnnxGraph.read(chain(np.ones(CHANNELS, np.float32), relu, depthwise=True).model(out=4))
    assert equalize(graph, find_layers(graph), {"act": np.array([2.1, 1, 1, 1, 1, 1])}) == ()


@pytest.mark.parametrize("ends", [(0.0, 6.0), (-1.0, 6.0), (0.5, np.inf)])
def test_a_clip_is_left_alone(ends: tuple[float, float]) -> None:
    """Frames that calibration has not seen may reach its ends."""

    def clip(net: Net, x: str) -> str:
        names = (net.constant(f"end {end}", np.float32(end)) for end in ends)
        return net.add("Clip", x, *names, name="act")

    model = chain(np.float32([100, 1, 1, 1, 1, 1]), clip).model(out=4)
    after, found = equalized(model)
    assert "act" not in found
    assert_same_function(model, after)


def test_a_clip_without_an_upper_end_is_a_relu() -> None:
    def clip(net: Net, x: str) -> str:
        return net.add("Clip", x, net.constant("0", np.float32(0)), name="act")

    model = chain(np.float32([100, 1, 1, 1, 1, 1]), clip).model(out=4)
    after, found = equalized(model)
    assert found["act"].spread_after < 4
    assert_same_function(model, after)


def test_a_clip_whose_end_is_computed_is_left_alone() -> None:
    def clip(net: Net, x: str) -> str:
        end = net.add("Abs", net.constant("e", np.float32(6)), name="end")
        return net.add("Clip", x, net.constant("0", np.float32(0)), end, name="act")

    model = chain(np.float32([100, 1, 1, 1, 1, 1]), clip).model(out=4)
    after, found = equalized(model)
    assert "act" not in found
    assert_same_function(model, after)


def slice_along(axis: int) -> Callable[[Net, str], str]:
    def between(net: Net, x: str) -> str:
        parts = {"starts": 0, "ends": 1000, "axes": axis}
        names = [net.constant(name, np.array([value])) for name, value in parts.items()]
        return net.add("Slice", relu(net, x), *names, name="part")

    return between


def padded(pads: list[int], value: float | None = None) -> Callable[[Net, str], str]:
    def between(net: Net, x: str) -> str:
        more = [] if value is None else [net.constant("value", np.float32(value))]
        names = [net.constant("pads", np.array(pads)), *more]
        return net.add("Pad", relu(net, x), *names, name="padded")

    return between


SPATIAL, OF_CHANNELS = [0, 0, 1, 1, 0, 0, 1, 1], [0, 1, 0, 0, 0, -1, 0, 0]


def operator(name: str, **attributes: float) -> Callable[[Net, str], str]:
    return lambda net, x: net.add(name, relu(net, x), name="other", **attributes)


@pytest.mark.parametrize(
    ("between", "scaled"),
    [
        (slice_along(2), True),
        (slice_along(-1), True),
        (slice_along(1), False),
        (slice_along(-3), False),
        (padded(SPATIAL), True),
        (padded(SPATIAL, 0.0), True),
        (padded(SPATIAL, 0.5), False),
        (padded(OF_CHANNELS), False),
        (operator("Sigmoid"), False),
        (operator("LRN", size=3), False),
    ],
)
def test_only_what_treats_each_channel_alone_lies_between(
    between: Callable[[Net, str], str], scaled: bool
) -> None:
    model = chain(np.float32([100, 1, 1, 1, 1, 1]), between).model(out=4)
    after, found = equalized(model)
    assert ("act" in found) == scaled
    assert_same_function(model, after)


def test_readers_behind_a_concat_get_their_own_channels() -> None:
    net = Net(3)
    pixels = net.pixels()
    wide = net.add("Relu", net.conv(pixels, (4, 3, 3, 3), name="wide"), name="wide_relu")
    other = net.add("Relu", net.conv(pixels, (3, 3, 3, 3), name="other"), name="other_relu")
    x = net.add("Concat", other, wide, name="both", axis=1)
    y = net.conv(x, (5, 7, 1, 1), name="dense")
    z = net.conv(x, (7, 1, 3, 3), name="depthwise", group=7, pads=[1, 1, 1, 1])
    net.add("Identity", y, name="out")
    net.add("Identity", z, name="out2")
    net.constants["wide.w"][1] *= 500
    model = net.model(out=4, out2=4)
    after, found = equalized(model)
    assert found["wide_relu"].consumers == ("dense", "depthwise")
    assert_same_function(model, after)
    weights = OnnxGraph.read(after).weights(OnnxGraph.read(after).node("wide"))
    ratio = weights / net.constants["wide.w"]
    assert ratio[1].max() < 0.2
    np.testing.assert_array_equal(ratio[[0, 2, 3]], 1)


def test_a_sum_an_output_and_a_dense_layer_are_left_alone() -> None:
    net = Net(4)
    x = net.conv(net.pixels(), (6, 3, 3, 3), name="first")
    y = net.conv(x, (6, 6, 1, 1), name="second")
    net.add("Relu", net.add("Add", x, y, name="sum"), name="summed")
    z = net.add("Relu", net.conv("summed", (6, 6, 1, 1), name="third"), name="seen")
    net.add("Identity", net.conv(z, (6, 6, 8, 8), name="fourth"), name="out")
    net.constants["first.w"][0] *= 1000
    net.constants["third.w"][0] *= 1000
    model = net.model(out=4, seen=4)
    after, found = equalized(model)
    assert found == {}
    assert_same_function(model, after)


def test_a_classifier_keeps_what_it_reads() -> None:
    """Global pooling, and Gemm behind it, whose weights cannot take the scales."""
    net = Net(4)
    x = net.add("Relu", net.conv(net.pixels(), (6, 3, 3, 3), name="first"), name="act")
    net.constants["first.w"][0] *= 1000
    x = net.add("Flatten", net.add("GlobalAveragePool", x, name="pooled"), name="flat")
    net.add("Gemm", x, net.constant("w", np.ones((6, 4), np.float32)), name="logits")
    model = net.model(logits=2)
    assert equalized(model)[1] == {}


def test_shared_weights_are_copied() -> None:
    net = Net(5)
    x = net.add("Relu", net.conv(net.pixels(), (3, 3, 1, 1), name="first"), name="act")
    x = net.add("Relu", net.add("Conv", x, "first.w", "first.b", name="second"), name="act2")
    x = net.add("Conv", x, "first.w", name="third")
    net.add("Identity", x, name="out")
    weights = np.abs(net.constants["first.w"])
    weights[0] *= 40  # a wide channel, that every weight reads
    net.constants["first.w"] = weights
    model = net.model(out=4)
    after, found = equalized(model)
    assert set(found) == {"act", "act2"}
    assert_same_function(model, after)
    graph = OnnxGraph.read(after)
    assert len({graph.node(name).input[1] for name in ("first", "second", "third")}) == 3


def test_dead_and_tiny_channels_stay_finite() -> None:
    net = chain(np.float32([1, 1, 1, 1, 1, 1]), relu)
    net.constants["first.w"][0], net.constants["first.b"][0] = 0, 0
    net.constants["first.w"][1] *= np.float32(1e-25)
    net.constants["first.b"][1] = 0
    net.constants["first.w"][2] *= 100
    model = net.model(out=4)
    after, found = equalized(model)
    assert "act" in found
    assert_same_function(model, after)
    graph = OnnxGraph.read(after)
    for name in ("first", "second"):
        assert np.isfinite(graph.weights(graph.node(name))).all()


def test_what_is_even_already_is_left_alone() -> None:
    model = mobile()
    once, _ = equalized(model)
    twice, found = equalized(once)
    assert_same_function(model, once)
    assert_same_function(once, twice)
    again, _ = equalized(twice)
    assert set(equalized(again)[1]) <= set(found)


def test_tensors_without_statistics_are_left_alone() -> None:
    graph = OnnxGraph.read(mobile())
    before = graph.serialize()
    assert equalize(graph, find_layers(graph), {}) == ()
    assert graph.serialize() == before
