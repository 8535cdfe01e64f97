"""Which layers can compute in eight bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from small_nets import Net, mobile

from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.quantization.layers import Layer, find_layers, observed_tensors


def layers_of(model: bytes) -> dict[str, Layer]:
    return {layer.node: layer for layer in find_layers(OnnxGraph.read(model))}


def test_layers_with_their_activations() -> None:
    found = layers_of(mobile())
    assert list(found.values()) == [
        Layer("stem", "Conv", ("pixels",), "stem_clip", "stem_clip"),
        Layer("reduce", "Conv", ("stem_clip",), "reduce"),
        Layer("depthwise", "Conv", ("reduce",), "depthwise_relu", "depthwise_relu"),
        Layer("expand", "Conv", ("depthwise_relu",), "expand"),
        Layer("sum", "Add", ("expand", "reduce"), "sum"),
        Layer("halved", "AveragePool", ("sum",), "halved"),
        Layer("grouped", "Conv", ("halved",), "grouped_relu", "grouped_relu"),
        Layer("to_classes", "Conv", ("grouped_relu",), "to_classes"),
    ]
    assert [layer.weighted for layer in found.values()].count(False) == 2
    assert observed_tensors(list(found.values())) == [
        *("pixels", "stem_clip", "reduce", "depthwise_relu", "expand", "sum", "halved"),
        *("grouped_relu", "to_classes"),
    ]


def head(net: Net) -> str:
    return net.conv(net.pixels(), (4, 3, 3, 3), name="stem")


def test_outputs_of_the_graph_are_not_quantized() -> None:
    net = Net()
    x = net.conv(head(net), (4, 4, 1, 1), name="inner")
    net.add("Tanh", x, name="out")
    assert list(layers_of(net.model(out=4))) == ["stem", "inner"]
    assert list(layers_of(net.model(out=4, inner=4))) == ["stem"]


def test_an_activation_that_is_an_output_stays_one() -> None:
    net = Net()
    net.add("Relu", head(net), name="out")
    assert layers_of(net.model(out=4))["stem"] == Layer("stem", "Conv", ("pixels",), "stem")


def test_an_activation_of_one_of_two_readers_is_not_the_layers() -> None:
    net = Net()
    x = head(net)
    net.add("Tanh", net.add("Relu", x, name="relu"), name="out")
    net.add("Tanh", x, name="other")
    assert layers_of(net.model(out=4, other=4))["stem"].activation == ""


def dense(net: Net, operator: str, *more: str, **attributes: object) -> bytes:
    x = net.add("Flatten", net.conv(head(net), (4, 4, 10, 10), name="wide"), name="flat")
    net.constant("w", np.ones((4, 4), np.float32))
    y = net.add(operator, x, "w", *more, name="dense", **attributes)
    net.add("Tanh", y, name="out")
    return net.model(out=2)


def bias(*shape: int) -> Callable[[Net], bytes]:
    def build(net: Net) -> bytes:
        return dense(net, "Gemm", net.constant("b", np.ones(shape, np.float32)))

    return build


@pytest.mark.parametrize(
    "build",
    [
        lambda net: dense(net, "MatMul"),
        lambda net: dense(net, "Gemm"),
        lambda net: dense(net, "Gemm", transB=1),
        bias(4),
        bias(1, 4),
        bias(1),
        bias(),
    ],
)
def test_dense_layers(build: Callable[[Net], bytes]) -> None:
    assert "dense" in layers_of(build(Net()))


@pytest.mark.parametrize(
    "build",
    [
        lambda net: dense(net, "Gemm", alpha=2.0),
        lambda net: dense(net, "Gemm", net.constant("b", np.ones(4, np.float32)), beta=0.5),
        lambda net: dense(net, "Mul"),
    ],
)
def test_dense_layers_of_another_kind(build: Callable[[Net], bytes]) -> None:
    assert "dense" not in layers_of(build(Net()))


def test_a_bias_of_each_image_is_not_quantized() -> None:
    net = Net()
    x = net.add("Flatten", net.conv(head(net), (4, 4, 10, 10), name="wide"), name="flat")
    net.constant("w", np.ones((4, 4), np.float32))
    net.add("Tanh", net.add("Gemm", x, "w", net.constant("b", np.ones((1, 1, 1), np.float32)[0]),
                            name="dense"), name="out")  # fmt: skip
    assert "dense" in layers_of(net.model(out=2))
    net.constants["b"] = np.ones((3, 1), np.float32)
    assert "dense" not in layers_of(net.model(out=2))


def test_weights_that_are_computed_or_on_the_left() -> None:
    net = Net()
    x = head(net)
    filters = net.add("Relu", net.constant("f", np.ones((2, 4, 1, 1), np.float32)), name="filters")
    net.add("Tanh", net.add("Conv", x, filters, name="computed"), name="out")
    net.add("MatMul", net.constant("m", np.ones((10, 10), np.float32)), x, name="left")
    net.add("Tanh", "left", name="out2")
    assert list(layers_of(net.model(out=4, out2=4))) == ["stem"]


def test_sums_of_two_tensors_only() -> None:
    net = Net()
    x = head(net)
    net.add("Add", x, net.constant("c", np.float32(1)), name="constant")
    net.add("Add", x, x, name="twice")
    net.add("Add", "constant", "twice", name="both")
    net.add("Tanh", "both", name="out")
    assert list(layers_of(net.model(out=4))) == ["stem", "both"]


def test_layers_of_other_types_are_left_alone() -> None:
    net = Net()
    x = net.add("Cast", head(net), name="half", to=10)
    y = net.add("AveragePool", x, name="pool", kernel_shape=[2, 2])
    net.add("Cast", y, name="out", to=1)
    assert list(layers_of(net.model(out=4))) == ["stem"]
