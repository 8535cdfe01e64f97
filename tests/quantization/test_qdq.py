"""Where pairs go, and that a quantized graph computes what plain NumPy says it does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from small_nets import Net, mobile, noise, quantize, run, sqnr_db

from bas_edge.backends import open_backend
from bas_edge.engine.onnx_graph import OnnxGraph, with_outputs
from bas_edge.quantization.codes import Codes, Flavour
from bas_edge.quantization.layers import find_layers
from bas_edge.quantization.qdq import insert_qdq

FLAVOURED = pytest.mark.parametrize("flavour", ["onnxruntime", "tensorrt"])
Array = NDArray[np.float64]


# Against NumPy. Every scale is a power of two and every sum fits into 24 bits, so it is exact.


def exact_weights(shape: Sequence[int], seed: int) -> NDArray[np.float32]:
    """Whose largest in each channel is 127 / 2048 or 127 / 1024: scales are powers of two."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1, 1, shape).astype(np.float32)
    values.reshape(shape[0], -1)[:, 0] = 1
    scales = np.float32([127 / 2048, 127 / 1024])[np.arange(shape[0]) % 2]
    exact: NDArray[np.float32] = values * scales.reshape(-1, *[1] * (len(shape) - 1))
    return exact


def fake_quantized(values: Array, codes: Codes, flavour: Flavour) -> Array:
    scale, ends = float(codes.scale), (-128, 127) if flavour == "tensorrt" else (0, 255)
    restored: Array = (np.clip(np.rint(values / scale) + codes.zero, *ends) - codes.zero) * scale
    return restored


def quantized_weights(weights: NDArray[np.float32]) -> tuple[Array, Array]:
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    scales = np.abs(rows).max(axis=1, keepdims=True) / 127
    return (np.rint(rows / scales) * scales).reshape(weights.shape), scales[:, 0]


def conv(x: Array, weights: Array, groups: int) -> Array:
    """[N, O, H', W'] without padding."""
    outputs, inputs, rows, columns = weights.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, (rows, columns), axis=(2, 3))
    parts = [
        np.einsum(
            "nihwrc,oirc->nohw",
            windows[:, g * inputs : (g + 1) * inputs],
            weights[g * outputs // groups : (g + 1) * outputs // groups],
        )
        for g in range(groups)
    ]
    return np.concatenate(parts, axis=1)


ACTIVATIONS = {"none": (-np.inf, np.inf), "Relu": (0, np.inf), "Clip": (0, 6)}


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("step", [2.0**-6, 2.0**-4], ids=["codes end below 6", "above"])
@FLAVOURED
def test_a_layer_computes_what_numpy_says(
    flavour: Flavour, step: float, activation: str, bias: bool, groups: int
) -> None:
    net = Net()
    first = exact_weights((6, 3, 1, 1), 1)
    middle = exact_weights((6, 6 // groups, 3, 3), 2)
    x = net.conv(net.pixels(64.0, 1 / 32), first.shape, name="first", weights=first, bias=False)
    x = net.conv(x, middle.shape, name="middle", weights=middle, bias=bias, group=groups)
    added = np.round(net.rng.normal(0, 1, 6) * 1024) / 1024
    if bias:
        net.constants["middle.b"] = added.astype(np.float32)
    if activation != "none":
        x = net.relu6(x, name="act") if activation == "Clip" else net.add("Relu", x, name="act")
    last = exact_weights((2, 6, 1, 1), 3)
    x = net.conv(x, last.shape, name="last", weights=last, bias=False)
    net.add("Identity", x, name="out")
    signed = flavour == "tensorrt"
    pixels = Codes(np.float32(1 / 16), 0 if signed else 64)
    between = Codes(np.float32(1 / 32), 0 if signed else 100)
    result = Codes(np.float32(step), 0 if signed or activation != "none" else 90)
    end = Codes(np.float32(2.0**-5), 0 if signed else 128)
    codes = {"pixels": pixels, "first": between, "last": end}
    codes |= {"middle": result, "act": result}

    graph = OnnxGraph.read(net.model(out=4))
    insert_qdq(graph, find_layers(graph), codes, flavour)
    got = run(graph.serialize(), noise(2))["out"]

    y = (noise(2).transpose(0, 3, 1, 2).astype(np.float64) - 64) / 32
    y = conv(fake_quantized(y, pixels, flavour), quantized_weights(first)[0], 1)
    y = fake_quantized(y, between, flavour)
    rounded, scales = quantized_weights(middle)
    y = conv(y, rounded, groups)
    if bias:
        fine = scales / 32  # int32 codes; TensorRT's biases stay as they are
        own = added if signed else np.rint(added / fine) * fine
        y = y + own[:, None, None]
    y = fake_quantized(np.clip(y, *ACTIVATIONS[activation]), result, flavour)
    y = conv(y, quantized_weights(last)[0], 1)
    if not signed:  # every result is quantized there
        y = fake_quantized(y, end, flavour)
    np.testing.assert_array_equal(got, y.astype(np.float32))

    below = result.highest(flavour) <= 6
    left = {node.op_type for node in graph.nodes} & {"Relu", "Clip"}
    if flavour == "onnxruntime":
        expected = {"Clip"} if activation == "Clip" and not below else set()
    else:
        expected = {"none": set(), "Relu": {"Relu"}, "Clip": {"Relu" if below else "Clip"}}[
            activation
        ]
    assert left == expected


@FLAVOURED
def test_an_activation_with_codes_below_0_stays(flavour: Flavour) -> None:
    net = Net()
    x = net.add("Relu", net.conv(net.pixels(), (4, 3, 3, 3), name="a"), name="relu")
    net.add("Tanh", net.conv(x, (4, 4, 1, 1), name="b"), name="out")
    graph = OnnxGraph.read(net.model(out=4))
    zero = 0 if flavour == "tensorrt" else 20
    codes = dict.fromkeys(("pixels", "relu", "b"), Codes(np.float32(0.02), zero))
    insert_qdq(graph, find_layers(graph), codes, flavour)
    assert [node.op_type for node in graph.nodes].count("Relu") == 1


@pytest.mark.parametrize(("low", "high"), [(-1.0, 6.0), (0.5, 6.0), (0.0, None), (None, 6.0)])
@FLAVOURED
def test_a_clip_with_other_ends_stays(
    flavour: Flavour, low: float | None, high: float | None
) -> None:
    net = Net()
    ends = [
        "" if value is None else net.constant(name, np.float32(value))
        for name, value in (("low", low), ("high", high))
    ]
    x = net.add("Clip", net.conv(net.pixels(), (4, 3, 3, 3), name="a"), *ends, name="clip")
    net.add("Tanh", net.conv(x, (4, 4, 1, 1), name="b"), name="out")
    graph = OnnxGraph.read(net.model(out=4))
    codes = dict.fromkeys(("pixels", "clip", "b"), Codes(np.float32(0.001)))
    insert_qdq(graph, find_layers(graph), codes, flavour)
    assert [node.op_type for node in graph.nodes].count("Clip") == 1


# Where pairs are


def behind(graph: OnnxGraph, name: str) -> list[str]:
    """For each activation that a node reads: "pair of TENSOR", or the tensor itself."""
    found = []
    for tensor in graph.activation_inputs(graph.node(name)):
        producer = graph.producer(tensor)
        if producer is None or producer.op_type != "DequantizeLinear":
            found.append(tensor)
            continue
        source = graph.producer(producer.input[0])
        if graph.constant(producer.input[0]) is None:
            pixels = source is None or source.op_type != "QuantizeLinear"
            found.append("pixels" if pixels else f"pair of {source.input[0]}")
    return found


def placed(flavour: Flavour, *keep: str) -> OnnxGraph:
    return OnnxGraph.read(quantize(mobile(), flavour, noise(4), keep=keep))


def test_pairs_for_onnxruntime() -> None:
    graph = placed("onnxruntime")
    assert behind(graph, "stem") == ["pixels"]
    assert behind(graph, "reduce") == ["pair of stem_clip"]
    assert behind(graph, "depthwise") == ["pair of reduce"]
    assert behind(graph, "sum") == ["pair of expand", "pair of reduce"]
    assert behind(graph, "halved") == ["pair of sum"]
    assert behind(graph, "to_maps") == ["pair of grouped_relu"]
    assert behind(graph, "pooled") == ["pair of to_classes"]
    quantizers = [node.input[0] for node in graph.nodes if node.op_type == "QuantizeLinear"]
    assert len(quantizers) == len(set(quantizers)) == 8  # one for each tensor


def test_pairs_for_tensorrt() -> None:
    graph = placed("tensorrt")
    assert behind(graph, "stem") == ["pair of pixels"]
    assert behind(graph, "depthwise") == ["pair of reduce"]
    assert behind(graph, "sum") == ["expand", "pair of reduce"]  # the skip connection only
    assert behind(graph, "to_maps") == behind(graph, "to_classes") == ["pair of grouped_relu"]
    assert behind(graph, "pooled") == ["to_classes"]  # no layer in eight bits reads it
    quantizers = [node.input[0] for node in graph.nodes if node.op_type == "QuantizeLinear"]
    assert quantizers.count("reduce") == quantizers.count("grouped_relu") == 2  # one a reader
    restored = [node for node in graph.nodes if node.op_type == "DequantizeLinear"]
    assert all(len(graph.consumers(node.output[0])) == 1 for node in restored)
    kinds = {graph.weights(node, 2).dtype for node in graph.nodes if "Linear" in node.op_type}
    assert kinds == {np.dtype(np.int8)}
    assert not any(graph.weights(node, 2).any() for node in graph.nodes if "Linear" in node.op_type)


def test_a_sum_of_two_convolutions_has_one_pair_for_tensorrt() -> None:
    net = Net()
    pixels = net.pixels()
    x, y = (net.conv(pixels, (4, 3, 3, 3), name=name) for name in ("a", "b"))
    net.add("Tanh", net.add("Add", x, y, name="sum"), name="out")
    graph = OnnxGraph.read(quantize(net.model(out=4), "tensorrt", noise(2)))
    assert behind(graph, "sum") == ["a", "pair of b"]


@FLAVOURED
def test_a_layer_that_is_kept_reads_and_computes_float(flavour: Flavour) -> None:
    graph = placed(flavour, "depthwise")
    node = graph.node("depthwise")
    assert graph.weights(node).dtype == np.float32
    assert graph.weights(node, 2).dtype == np.float32
    np.testing.assert_array_equal(graph.weights(node), OnnxGraph.read(mobile()).weights(node))
    assert behind(graph, "depthwise_relu") == ["depthwise"]
    assert behind(graph, "expand") == ["pair of depthwise_relu"]


@FLAVOURED
def test_everything_kept_is_the_float_graph(flavour: Flavour) -> None:
    every = [node.name for node in OnnxGraph.read(mobile()).nodes]
    frames = noise(2)
    kept, exact = (
        run(quantize(mobile(), flavour, frames, keep=every), frames),
        run(mobile(), frames),
    )
    for name, value in exact.items():
        np.testing.assert_array_equal(kept[name], value)


@FLAVOURED
def test_nothing_of_the_contract_changes(flavour: Flavour) -> None:
    before = OnnxGraph.read(mobile()).model.graph  # with what is known of shapes
    model = quantize(mobile(), flavour, noise(4), correct=True)
    after = onnx.load_from_string(model).graph
    assert list(after.input) == list(before.input)
    assert list(after.output) == list(before.output)
    exact, rounded = run(mobile(), noise(3)), run(model, noise(3))
    for name, value in exact.items():
        assert (rounded[name].dtype, rounded[name].shape) == (value.dtype, value.shape)
        assert sqnr_db(value, rounded[name]) > 20


@FLAVOURED
def test_a_tensor_that_is_an_output_too_stays_as_it_is(flavour: Flavour) -> None:
    net = Net()
    x = net.add("Tanh", net.conv(net.pixels(), (4, 3, 3, 3), name="a"), name="seen")
    net.add("Tanh", net.conv(x, (4, 4, 1, 1), name="b"), name="out")
    model = net.model(seen=4, out=4)
    graph = OnnxGraph.read(quantize(model, flavour, noise(2)))
    assert behind(graph, "b") == ["pair of seen"]
    assert graph.producer("seen").op_type == "Tanh"


# Biases


def test_int32_biases_never_overflow() -> None:
    net = Net()
    weights = np.full((3, 3, 1, 1), 1e-7, np.float32)
    weights[1] = 0
    x = net.conv(net.pixels(), (3, 3, 1, 1), name="a", weights=weights)
    net.constants["a.b"] = np.float32([3000, -4, 0.5])
    net.add("Tanh", net.conv(x, (1, 3, 1, 1), name="b"), name="out")
    model = quantize(net.model(out=4), "onnxruntime", noise(2))
    graph = OnnxGraph.read(model)
    restore = graph.producer(graph.node("a").input[2])
    codes, scales = graph.weights(restore, 0), graph.weights(restore, 1)
    assert codes.dtype == np.int32
    assert np.abs(codes.astype(np.int64)).max() <= 2**30
    # 30 bits of the bias; its scale and product are float32
    np.testing.assert_allclose(codes * scales.astype(np.float64), [3000, -4, 0.5], rtol=1e-6)


@FLAVOURED
def test_dead_channels_give_their_bias(flavour: Flavour) -> None:
    net = Net()
    weights = net.rng.normal(0, 0.3, (4, 3, 1, 1)).astype(np.float32)
    weights[2] = 0
    x = net.conv(net.pixels(), (4, 3, 1, 1), name="a", weights=weights)
    net.constants["a.b"] = np.float32([0, 0, 0.75, 0])
    net.add("Tanh", net.conv(x, (1, 4, 1, 1), name="b"), name="out")
    model = quantize(net.model(out=4), flavour, noise(2), correct=True)
    got = run(with_outputs(model, ["a"]), noise(2))["a"][:, 2]
    np.testing.assert_allclose(got, 0.75, rtol=1e-6)


def channel_means(model: bytes, tensor: str, frames: NDArray[np.uint8]) -> Array:
    values = run(with_outputs(model, [tensor]), frames)[tensor].astype(np.float64)
    means: Array = values.mean(axis=(0, *range(2, values.ndim)))
    return means


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
@FLAVOURED
def test_bias_correction_brings_means_back(flavour: Flavour, groups: int, bias: bool) -> None:
    """Seven bits for weights, so that rounding them costs something."""
    net = Net(5)
    x = net.pixels()
    net.conv(x, (12, 3 // groups, 5, 5), name="a", group=groups, bias=bias)
    net.add("Tanh", "a", name="out")
    model, frames = net.model(out=4), noise(8) // np.array([1, 4, 16], np.uint8)
    exact = channel_means(model, "a", frames)
    lost = [
        np.abs(channel_means(q, "a", frames) - exact).mean()
        for correct in (False, True)
        for q in [quantize(model, flavour, frames, correct=correct, reduce_range=True)]
    ]
    assert lost[1] < 0.3 * lost[0]  # what is left: means of windows are not those of the image


@pytest.mark.parametrize(("operator", "remaining"), [("Gemm", 0.5), ("MatMul", 1.0)])
def test_bias_correction_of_dense_layers(operator: str, remaining: float) -> None:
    """A MatMul has no bias to correct."""
    net = Net(6)
    x = net.add("Flatten", net.conv(net.pixels(), (6, 3, 12, 12), name="a"), name="flat")
    x = net.add("Relu", x, name="relu")
    weights = net.rng.normal(0, 0.5, (6, 40)).astype(np.float32)
    net.add("Tanh", net.add(operator, x, net.constant("w", weights), name="dense"), name="out")
    model, frames = net.model(out=2), noise(16)
    exact = channel_means(model, "dense", frames)
    lost = [
        np.abs(channel_means(q, "dense", frames) - exact).mean()
        for correct in (False, True)
        for q in [
            quantize(model, "tensorrt", frames, correct=correct, reduce_range=True, keep=["a"])
        ]
    ]
    assert lost[1] <= remaining * lost[0]


def test_seven_bits() -> None:
    graph = OnnxGraph.read(quantize(mobile(), "onnxruntime", noise(2), reduce_range=True))
    codes = [graph.weights(n, 0) for n in graph.nodes if graph.constant(n.input[0]) is not None]
    assert max(np.abs(c.astype(int)).max() for c in codes if c.dtype == np.int8) == 64


def test_a_layer_in_float_between_quantized_ones_keeps_its_weights(tmp_path: Path) -> None:
    """ONNX Runtime's WeightBiasQuantization would round them, with one scale for all channels."""
    net = Net(1)
    x = net.add("Relu", net.conv(net.pixels(), (8, 3, 3, 3), name="first"), name="a")
    x = net.add("Relu", net.conv(x, (8, 1, 3, 3), name="middle", group=8), name="b")
    x = net.add("Relu", net.conv(x, (8, 8, 1, 1), name="last"), name="c")
    net.add("Identity", net.conv(x, (2, 8, 1, 1), name="end"), name="out")
    net.constants["middle.w"] *= np.float32(4.0) ** np.arange(8).reshape(-1, 1, 1, 1)
    net.constants["last.w"] /= np.float32(4.0) ** np.arange(8).reshape(1, -1, 1, 1)
    frames = noise(8)
    path = tmp_path / "mixed.onnx"
    path.write_bytes(quantize(net.model(out=4), "onnxruntime", frames, keep=["middle"]))
    backend = open_backend("onnxruntime", path)
    got = backend.run({"frames": frames})["out"]
    backend.close()
    assert sqnr_db(run(path.read_bytes(), frames)["out"], got) > 35
