"""The form that ONNX Runtime's 8-bit kernels are faster at computes the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.engine.opened import opened
from bas_edge.quantization.cpu_form import cpu_form

SIDE = 12
RNG = np.random.default_rng(5)
WEIGHTS = {
    "w8": RNG.normal(size=(8, 3, 3, 3)),
    "w5": RNG.normal(size=(5, 3, 1, 1)),
    "w13": RNG.normal(size=(4, 13, 1, 1)),
    "w16": RNG.normal(size=(4, 16, 1, 1)),
    "w13wide": RNG.normal(size=(4, 13, 3, 3)),
    "b4": RNG.normal(size=4),
}


def graph(*nodes: onnx.NodeProto) -> OnnxGraph:
    """`frames` -> x -> `nodes`, which compute `out`, of tensors a (8 channels) and b (5)."""
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
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", None, None, None])],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in WEIGHTS.items()
            if name in used
        ],
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxGraph.read(model.SerializeToString())


def run(one: OnnxGraph) -> np.ndarray:
    frames = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    with opened(one.serialize()) as backend:
        return np.asarray(backend.run({"frames": frames})["out"])


def operators(one: OnnxGraph) -> list[str]:
    return [node.op_type for node in one.nodes]


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
    after = cpu_form(before)
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
    after = cpu_form(graph(pool(**attributes)))
    assert "AveragePool" in operators(after)


def test_joined_tensors_get_a_convolution_each() -> None:
    before = graph(join(), helper.make_node("Conv", ["ab", "w13", "b4"], ["out"], "end"))
    after = cpu_form(before)
    assert operators(after).count("Conv") == 4
    assert "Concat" not in operators(after)
    assert after.node("end").op_type == "Add"
    np.testing.assert_allclose(run(after), run(before), rtol=1e-5, atol=1e-3)


def test_one_tensor_joined_with_itself_works() -> None:
    twice = helper.make_node("Concat", ["a", "a"], ["aa"], "join", axis=1)
    before = graph(twice, helper.make_node("Conv", ["aa", "w16"], ["out"], "end"))
    after = cpu_form(before)
    assert "Concat" not in operators(after)
    np.testing.assert_allclose(run(after), run(before), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    "nodes",
    [
        lambda: (
            join(),
            helper.make_node("Conv", ["ab", "w13wide"], ["out"], "end", pads=[1, 1, 1, 1]),
        ),
        lambda: (
            join(),
            helper.make_node("Conv", ["ab", "w13"], ["small"], "end"),
            helper.make_node("Concat", ["small", "ab"], ["out"], "both", axis=1),
        ),
        lambda: (
            helper.make_node("Concat", ["a", "a"], ["tall"], "join", axis=2),
            helper.make_node("Conv", ["tall", "v8"], ["out"], "end"),
        ),
    ],
    ids=["3x3", "another reader", "rows"],
)
def test_other_joins_stay(nodes: Callable[[], tuple[onnx.NodeProto, ...]]) -> None:
    WEIGHTS["v8"] = np.ones((4, 8, 1, 1))
    before = graph(*nodes())
    after = cpu_form(before)
    assert operators(after) == operators(before)
