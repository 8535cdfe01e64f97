"""The form that ONNX Runtime's 8-bit kernels are faster at computes the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bas_edge.engine.float_regions import float_regions
from bas_edge.engine.onnx_graph import OnnxGraph, with_outputs
from bas_edge.engine.opened import opened
from bas_edge.quantization.cpu_form import cpu_form
from bas_edge.quantization.layers import find_layers

SIDE = 12
RNG = np.random.default_rng(5)
WEIGHTS = {
    "w8": RNG.normal(size=(8, 3, 3, 3)),
    "w5": RNG.normal(size=(5, 3, 1, 1)),
    "w44": RNG.normal(size=(4, 4, 1, 1)),
    "w45": RNG.normal(size=(4, 5, 1, 1)),
    "w48": RNG.normal(size=(4, 8, 1, 1)),
    "w13": RNG.normal(size=(4, 13, 1, 1)),
    "w16": RNG.normal(size=(4, 16, 1, 1)),
    "w13wide": RNG.normal(size=(4, 13, 3, 3)),
    "b4": RNG.normal(size=4),
}


def graph(*nodes: onnx.NodeProto, output: str = "out") -> OnnxGraph:
    """`frames` -> x -> `nodes`, which compute `output`, of tensors a (8 channels) and b (5)."""
    base = [
        helper.make_node("Cast", ["frames"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["x", "w8"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["x", "w5"], ["b"], "second"),
    ]
    every = [*base, *nodes]
    used = {name for node in every for name in node.input}
    built = helper.make_graph(
        every,
        "g",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", None, None, None])],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in WEIGHTS.items()
            if name in used
        ],
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxGraph.read(model.SerializeToString())


def run(one: OnnxGraph) -> np.ndarray:
    """The values before the sigmoid, where there is one."""
    frames = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    name = "response" if one.producer("response") else one.outputs[0]
    with opened(with_outputs(one.serialize(), [name])) as backend:
        return np.asarray(backend.run({"frames": frames})[name])


def operators(one: OnnxGraph) -> list[str]:
    return [node.op_type for node in one.nodes]


def layers(one: OnnxGraph) -> list[tuple[str, tuple[str, ...]]]:
    return [(layer.node, layer.sources) for layer in find_layers(one)]


def formed(before: OnnxGraph) -> OnnxGraph:
    """`before` in its other form, in which the same layers can be quantized, and all is known."""
    after = cpu_form(before)
    assert layers(after) == layers(before)
    for node in after.nodes:
        for name in node.output:
            assert after.shape(name) is not None
            assert after.is_float(name)
    assert all(after.producer(name) for name in after.outputs)
    return after


def end(source: str, weights: str, *more: str, output: str = "maps", **attributes: object) -> tuple:
    """The last layer before a sigmoid, which stays in float."""
    return (
        helper.make_node("Conv", [source, weights, *more], ["response"], "end", **attributes),
        helper.make_node("Sigmoid", ["response"], [output], "sigmoid"),
    )


def join(name: str = "ab") -> onnx.NodeProto:
    return helper.make_node("Concat", ["a", "b"], [name], "join", axis=1)


def pool(**attributes: object) -> onnx.NodeProto:
    return helper.make_node("AveragePool", ["a"], ["out"], "pool", **attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 2]},
        {"kernel_shape": [5, 5], "strides": [5, 5]},
    ],
)
def test_pooling_becomes_a_depthwise_convolution(attributes: dict[str, list[int]]) -> None:
    before = graph(pool(**attributes))
    after = formed(before)
    assert "AveragePool" not in operators(after)
    assert after.node("pool").output[0] == "out"
    np.testing.assert_allclose(run(after), run(before), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]},
        {"kernel_shape": [5, 5], "strides": [5, 5], "ceil_mode": 1},
        {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"},
    ],
)
def test_pooling_over_borders_is_left_alone(attributes: dict[str, object]) -> None:
    after = formed(graph(pool(**attributes)))
    assert "AveragePool" in operators(after)


def test_pooling_that_stays_in_float_is_left_alone() -> None:
    """Before the first layer with weights: a convolution there would be the first one."""
    before = graph(
        helper.make_node("AveragePool", ["x"], ["small"], "shrink", kernel_shape=[2, 2]),
        helper.make_node("Conv", ["small", "w5"], ["c"], "third"),
        *end("c", "w45"),
        output="maps",
    )
    after = formed(before)
    assert operators(after) == operators(before)
    assert "shrink" not in dict(layers(after))


def test_pooling_with_an_activation_behind_is_one_layer() -> None:
    before = graph(
        helper.make_node("AveragePool", ["a"], ["small"], "pool", kernel_shape=[2, 2]),
        helper.make_node("Relu", ["small"], ["positive"], "relu"),
        *end("positive", "w48"),
        output="maps",
    )
    after = formed(before)
    (pooling,) = [layer for layer in find_layers(after) if layer.node == "pool"]
    assert (pooling.operator, pooling.result) == ("Conv", "positive")
    np.testing.assert_allclose(run(after), run(before), rtol=1e-5, atol=1e-3)


def test_joined_tensors_get_a_convolution_each() -> None:
    before = graph(join(), *end("ab", "w13", "b4"), output="maps")
    after = formed(before)
    assert operators(after).count("Conv") == 4
    assert "Concat" not in operators(after)
    assert after.node("end").op_type == "Add"
    assert {"end", "end/part", "end/part_2"} <= float_regions(after)
    np.testing.assert_allclose(run(after), run(before), rtol=1e-5, atol=1e-3)


def test_one_tensor_joined_with_itself_works() -> None:
    twice = helper.make_node("Concat", ["a", "a"], ["aa"], "join", axis=1)
    before = graph(twice, *end("aa", "w16"), output="maps")
    after = formed(before)
    assert "Concat" not in operators(after)
    np.testing.assert_allclose(run(after), run(before), rtol=1e-5, atol=1e-3)


def test_one_tensor_joined_with_nothing_stays() -> None:
    alone = helper.make_node("Concat", ["a"], ["same"], "join", axis=1)
    before = graph(alone, *end("same", "w48"), output="maps")
    after = formed(before)
    assert operators(after) == operators(before)


def test_a_joined_layer_in_the_middle_stays_and_is_quantized() -> None:
    before = graph(
        join(),
        helper.make_node("Conv", ["ab", "w13", "b4"], ["dense:0"], "dense"),
        helper.make_node("Relu", ["dense:0"], ["dense/active"], "dense/relu"),
        *end("dense/active", "w44"),
        output="maps",
    )
    after = formed(before)
    assert operators(after) == operators(before)
    (dense,) = [layer for layer in find_layers(after) if layer.node == "dense"]
    assert (dense.sources, dense.result) == (("ab",), "dense/active")


@pytest.mark.parametrize(
    "nodes",
    [
        lambda: (
            join(),
            *end("ab", "w13wide", pads=[1, 1, 1, 1]),
        ),
        lambda: (
            join(),
            *end("ab", "w13", output="shown"),
            helper.make_node("Concat", ["shown", "ab"], ["maps"], "both", axis=1),
        ),
        lambda: (
            helper.make_node("Concat", ["a", "a"], ["tall"], "join", axis=2),
            *end("tall", "w48"),
        ),
    ],
    ids=["3x3", "another reader", "rows"],
)
def test_other_joins_stay(nodes: Callable[[], tuple[onnx.NodeProto, ...]]) -> None:
    before = graph(*nodes(), output="maps")
    after = formed(before)
    assert operators(after) == operators(before)
