"""Codes of tensors and weights, and pixels that are codes already."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from small_nets import Net, noise, quantize, run

from bas_edge.engine.onnx_graph import OnnxGraph, with_outputs
from bas_edge.quantization.codes import Codes, Flavour, PixelChain, pixel_chain, weight_codes

FLAVOURS: list[Flavour] = ["onnxruntime", "tensorrt"]
FLAVOURED = pytest.mark.parametrize("flavour", FLAVOURS)
ENDS = st.floats(0, 2.0**100, width=32)


@FLAVOURED
@given(below=ENDS, above=ENDS)
@example(below=0, above=0)
@example(below=0, above=6)
@example(below=3, above=0)
@example(below=1e-40, above=1e-45)  # steps that float32 does not have
def test_codes_cover_a_range_and_have_one_for_0(
    flavour: Flavour, below: float, above: float
) -> None:
    codes = Codes.covering((-below, above), flavour)
    scale = float(codes.scale)
    assert isinstance(codes.scale, np.float32)
    assert scale > 0
    least, most = (-127, 127) if flavour == "tensorrt" else (0, 255)
    assert least <= codes.zero <= most
    slack = 0.51 * scale  # the code of 0 is rounded to an integer
    assert (least - codes.zero) * scale <= -below * (1 - 1e-6) + slack
    assert (most - codes.zero) * scale >= above * (1 - 1e-6) - slack
    assert codes.highest(flavour) == pytest.approx((most - codes.zero) * scale)
    if max(below, above) > 1e-15:
        widest = max(below, above) if flavour == "tensorrt" else below + above
        assert scale * (most if flavour == "tensorrt" else 255) <= widest * (1 + 1e-6)
    if flavour == "tensorrt" or not below:
        assert codes.zero == 0


@FLAVOURED
def test_a_range_without_0_is_widened_to_it(flavour: Flavour) -> None:
    assert Codes.covering((2, 5), flavour) == Codes.covering((0, 5), flavour)
    assert Codes.covering((-5, -2), flavour) == Codes.covering((-5, 0), flavour)


WEIGHTS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=4),
    elements=st.floats(-100, 100, width=32),
)


@given(weights=WEIGHTS, axis=st.integers(0, 3), largest=st.sampled_from([64, 127]))
@example(weights=np.zeros((2, 3), np.float32), axis=0, largest=127)  # dead channels
@example(weights=np.full((1, 1), 1e-45, np.float32), axis=0, largest=127)
@example(weights=np.array([[1e-30, 0], [5, -5]], np.float32), axis=0, largest=127)
def test_weights_are_within_half_a_step_of_their_channel(
    weights: NDArray[np.float32], axis: int, largest: int
) -> None:
    axis %= weights.ndim
    coded = weight_codes(weights, axis, largest_code=largest)
    assert (coded.values.dtype, coded.values.shape) == (np.int8, weights.shape)
    assert (coded.scales.dtype, coded.scales.shape) == (np.float32, (weights.shape[axis],))
    assert (coded.scales > 0).all()
    assert np.abs(coded.values.astype(int)).max() <= largest
    shape = [1] * weights.ndim
    shape[axis] = -1
    half = coded.scales.astype(np.float64).reshape(shape) / 2
    assert (np.abs(coded.dequantized - weights) <= half * (1 + 1e-4)).all()
    for channel, codes in zip(
        np.moveaxis(weights, axis, 0), np.moveaxis(coded.values, axis, 0), strict=True
    ):
        if np.abs(channel).max() > 1e-15:
            assert np.abs(codes.astype(int)).max() == largest  # no code is wasted


def test_a_least_scale_is_kept() -> None:
    weights = np.array([[1.0], [1.0]], np.float32)
    coded = weight_codes(weights, 0, least_scale=np.array([0.5, 0.0]))
    np.testing.assert_array_equal(coded.scales, np.float32([0.5, 1 / 127]))
    np.testing.assert_array_equal(coded.values, [[2], [127]])


# Pixels


def chain(mean: object, scale: object) -> PixelChain | None:
    net = Net()
    net.add("Relu", net.pixels(mean, scale), name="out")
    return pixel_chain(OnnxGraph.read(net.model(out=4)), "pixels")


def planes(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None, None]


def test_one_mean_and_scale_are_found() -> None:
    found = chain(128.0, 1 / 64)
    assert found == PixelChain(("floats", "planes", "centred", "pixels"), 128.0, 1 / 64)
    assert found.codes("onnxruntime") == Codes(np.float32(1 / 64), 128)
    assert found.codes("tensorrt") == Codes(np.float32(1 / 64), 0)
    assert chain(planes(7, 7, 7), planes(2, 2, 2)) == PixelChain(found.nodes, 7.0, 2.0)


def test_steps_in_another_order_mean_the_same() -> None:
    net = Net()
    x = net.add("Cast", "frames", name="floats", to=1)
    x = net.add("Div", x, net.constant("d", np.float32(64)), name="divided")
    x = net.add("Sub", x, net.constant("s", np.float32(2)), name="centred")
    x = net.add("Transpose", x, name="planes", perm=[0, 3, 1, 2])
    net.add("Relu", x, name="out")
    found = pixel_chain(OnnxGraph.read(net.model(out=4)), "planes")
    assert found is not None
    assert (found.mean, found.scale) == (128.0, 1 / 64)


@pytest.mark.parametrize(
    ("mean", "scale"),
    [(planes(1, 2, 3), 1.0), (0.0, planes(1, 2, 3)), (0.0, 0.0)],
    ids=["a mean of each channel", "a scale of each channel", "a scale of 0"],
)
def test_a_chain_of_another_kind_is_none(mean: object, scale: object) -> None:
    assert chain(mean, scale) is None


@pytest.mark.parametrize(("mean", "scale"), [(127.5, 1.0), (-1.0, 1.0), (256.0, 1.0), (0.0, -1.0)])
@FLAVOURED
def test_a_chain_whose_codes_are_no_pixels(mean: float, scale: float, flavour: Flavour) -> None:
    found = chain(mean, scale)
    assert found is not None
    assert found.codes(flavour) is None


@pytest.mark.parametrize("mean", [0.0, 127.0, 255.0])
def test_signed_codes_are_pixels_around_128_only(mean: float) -> None:
    found = chain(mean, 1.0)
    assert found is not None
    assert found.codes("tensorrt") is None
    assert found.codes("onnxruntime") == Codes(np.float32(1), int(mean))


@pytest.mark.parametrize("left", ["Sub", "Div", "Add"])
def test_other_arithmetic_is_none(left: str) -> None:
    net = Net()
    x = net.add("Cast", "frames", name="floats", to=1)
    x = net.add(left, net.constant("c", np.float32(9)), x, name="turned")
    net.add("Relu", x, name="out")
    assert pixel_chain(OnnxGraph.read(net.model(out=4)), "turned") is None


def every_pixel() -> NDArray[np.uint8]:
    """All 256 values, at least once."""
    return np.resize(np.arange(256), (1, 12, 12, 3)).astype(np.uint8)


def first_codes(model: bytes) -> tuple[NDArray[np.int64], list[str]]:
    """What the first DequantizeLinear of an activation reads, and the operators before it."""
    graph = OnnxGraph.read(model)
    node = next(n for n in graph.nodes if n.op_type == "DequantizeLinear" and "pixels" in n.name)
    before, tensor = [], node.input[0]
    while (producer := graph.producer(tensor)) is not None:
        before.append(producer.op_type)
        tensor = producer.input[0]
    frames = every_pixel()
    values = run(with_outputs(model, [node.input[0]]), frames)[node.input[0]]
    return values.astype(np.int64), before[::-1]


def one_layer(mean: object, scale: object) -> bytes:
    net = Net()
    x = net.conv(net.pixels(mean, scale), (4, 3, 3, 3), name="first")
    net.add("Tanh", x, name="out")
    return net.model(out=4)


@pytest.mark.parametrize(("mean", "scale"), [(128.0, 1 / 64), (0.0, 1 / 255), (255.0, 0.01)])
def test_pixels_are_read_as_codes(mean: float, scale: float) -> None:
    codes, before = first_codes(quantize(one_layer(mean, scale), "onnxruntime", noise(2)))
    assert before == ["Transpose"]
    np.testing.assert_array_equal(codes, every_pixel().transpose(0, 3, 1, 2))


def test_signed_codes_are_pixels_minus_128() -> None:
    codes, before = first_codes(quantize(one_layer(128.0, 1 / 64), "tensorrt", noise(2)))
    assert before == ["Cast", "Transpose", "Sub", "Mul", "QuantizeLinear"]
    np.testing.assert_array_equal(codes, every_pixel().astype(int).transpose(0, 3, 1, 2) - 128)


@pytest.mark.parametrize(
    ("mean", "scale"), [(planes(123, 116, 103), 0.02), (127.5, 1 / 127.5), (128.0, planes(1, 2, 3))]
)
def test_pixels_that_are_no_codes_are_normalised_in_float(mean: object, scale: object) -> None:
    _, before = first_codes(quantize(one_layer(mean, scale), "onnxruntime", noise(2)))
    assert before == ["Cast", "Transpose", "Sub", "Mul", "QuantizeLinear"]


def test_floats_that_somebody_else_reads_stay() -> None:
    net = Net()
    x = net.pixels(128.0, 1 / 64)
    net.add("Tanh", x, name="also")
    net.add("Tanh", net.conv(x, (4, 3, 3, 3), name="first"), name="out")
    model = net.model(out=4, also=4)
    quantized = quantize(model, "onnxruntime", noise(2))
    assert first_codes(quantized)[1][0] == "Cast"
    np.testing.assert_array_equal(run(model, noise(2))["also"], run(quantized, noise(2))["also"])


def test_floats_that_are_an_output_stay() -> None:
    net = Net()
    x = net.pixels(128.0, 1 / 64)
    net.add("Tanh", net.conv(x, (4, 3, 3, 3), name="first"), name="out")
    quantized = quantize(net.model(out=4, pixels=4), "onnxruntime", noise(2))
    assert run(quantized, noise(2))["pixels"].dtype == np.float32
