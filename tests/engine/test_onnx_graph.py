"""A graph in memory: names, constants, and what rewriting leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_nets import Net, mobile, noise, run

from bas_edge.engine.onnx_graph import OnnxGraph, with_outputs
from bas_edge.errors import EngineError, InputError


def small() -> Net:
    net = Net()
    x = net.conv(net.pixels(), (4, 3, 1, 1), name="first")
    net.add("Relu", x, name="out")
    return net


def edited(net: Net, edit: Callable[[onnx.GraphProto], object], **outputs: int) -> OnnxGraph:
    model = onnx.load_from_string(net.model(**outputs))
    edit(model.graph)
    return OnnxGraph.read(model.SerializeToString())


def test_looking_at_it() -> None:
    graph = OnnxGraph.read(small().model(out=4))
    assert [node.name for node in graph.nodes][-2:] == ["first", "out"]
    assert graph.outputs == ["out"]
    assert graph.opset == 17
    conv = graph.node("first")
    assert graph.producer("first").name == "first"
    assert graph.producer("frames") is graph.producer("first.w") is None
    assert [node.name for node in graph.consumers("first")] == ["out"]
    assert graph.consumers("out") == []
    assert graph.activation_inputs(conv) == ["pixels"]
    assert graph.weights(conv).shape == (4, 3, 1, 1)
    assert graph.constant("pixels") is None
    with pytest.raises(KeyError, match="first reads no constant at 0"):
        graph.weights(conv, 0)
    assert graph.attribute(graph.node("planes"), "perm") == [0, 3, 1, 2]
    assert graph.attribute(graph.node("planes"), "axis", 5) == 5
    assert graph.shape("pixels") == (None, 3, 12, 12)
    assert graph.shape("first.w") == (4, 3, 1, 1)
    assert graph.shape("nothing") is None
    assert [graph.is_float(name) for name in ("frames", "pixels", "first.b")] == [False, True, True]


def test_a_constant_is_a_copy() -> None:
    graph = OnnxGraph.read(small().model(out=4))
    weights = graph.weights(graph.node("first"))
    weights[:] = 0
    assert graph.weights(graph.node("first")).any()


def test_an_output_without_a_shape_has_an_unknown_one() -> None:
    def forget(graph: onnx.GraphProto) -> None:
        custom = helper.make_node("Mystery", ["out"], ["new"], domain="some.where")
        graph.node.append(custom)
        graph.output.append(helper.make_tensor_value_info("new", TensorProto.FLOAT, None))

    model = onnx.load_from_string(small().model(out=4))
    forget(model.graph)
    model.opset_import.append(helper.make_opsetid("some.where", 1))
    assert OnnxGraph(onnx, model).shape("new") is None


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("value", numpy_helper.from_array(np.float32(6))),
        ("value_float", 6.0),
        ("value_floats", [6.0]),
        ("value_int", 6),
        ("value_ints", [6]),
    ],
)
def test_constants_are_initializers_wherever_they_were(attribute: str, value: object) -> None:
    def add(graph: onnx.GraphProto) -> None:
        graph.node.insert(0, helper.make_node("Constant", [], ["six"], **{attribute: value}))

    graph = edited(small(), add, out=4)
    assert [node.op_type for node in graph.nodes].count("Constant") == 0
    found = graph.constant("six")
    assert found is not None
    assert found.dtype == (np.int64 if "int" in attribute else np.float32)
    assert found.tolist() == ([6] if attribute.endswith("s") else 6)


def test_a_constant_that_is_an_output_stays_a_node() -> None:
    def add(graph: onnx.GraphProto) -> None:
        graph.node.append(helper.make_node("Constant", [], ["six"], value_float=6.0))
        graph.output.append(helper.make_tensor_value_info("six", TensorProto.FLOAT, []))

    graph = edited(small(), add, out=4)
    assert run(graph.serialize(), noise(1))["six"] == 6


def test_every_node_has_a_name_of_its_own() -> None:
    def forget(graph: onnx.GraphProto) -> None:
        for node, name in zip(graph.node, ("same", "same", "", "", "first", "first"), strict=True):
            node.name = name

    graph = edited(small(), forget, out=4)
    names = [node.name for node in graph.nodes]
    assert names == ["same", "same_2", "centred", "pixels", "first", "first_2"]
    assert [graph.node(name).name for name in names] == names


def test_names_that_are_taken_are_not_given_again() -> None:
    graph = OnnxGraph.read(small().model(out=4))
    assert graph.unused("new") == "new"
    assert graph.unused("new") == "new_2"
    assert graph.unused("first") == "first_2"  # a node and a tensor
    assert graph.unused("first.w") == "first.w_2"
    name = graph.add_constant("frames", np.ones(3))
    assert name == "frames_2"
    np.testing.assert_array_equal(graph.constant(name), np.ones(3))


def test_a_copy_is_another_graph() -> None:
    graph = OnnxGraph.read(small().model(out=4))
    before = graph.serialize()
    other = graph.copy()
    other.set_constant("first.w", np.zeros((4, 3, 1, 1), np.float32))
    other.node("out").op_type = "Tanh"
    assert graph.serialize() == before
    assert other.serialize() != before


def test_a_shared_constant_is_copied_for_one_reader() -> None:
    net = small()
    net.nodes.append(helper.make_node("Conv", ["out", "w2"], ["more"], name="second"))
    net.nodes.append(helper.make_node("Conv", ["more", "w2"], ["end"], name="third"))
    net.constant("w2", np.ones((4, 4, 1, 1), np.float32))
    graph = OnnxGraph.read(net.model(end=4))
    own = graph.own_constant(graph.node("second"), 1)
    assert own != "w2"
    graph.set_constant(own, graph.weights(graph.node("second")) * 2)
    assert graph.weights(graph.node("third")).max() == 1
    assert graph.own_constant(graph.node("second"), 1) == own  # its own already
    assert graph.own_constant(graph.node("third"), 1) == "w2"  # nobody else reads it now
    graph.serialize()


def test_new_nodes_drop_constants_that_nobody_reads() -> None:
    net = small()
    graph = OnnxGraph.read(net.model(out=4))
    graph.node("out").input[0] = "pixels"
    graph.set_nodes(node for node in graph.nodes if node.name != "first")
    assert graph.constant("first.w") is None
    assert graph.constant("scale") is not None
    assert graph.producer("first") is None
    assert graph.consumers("pixels") == [graph.node("out")]


def test_a_graph_that_is_damaged_is_not_written() -> None:
    graph = OnnxGraph.read(small().model(out=4))
    graph.node("out").input[0] = "nowhere"
    with pytest.raises(EngineError, match="Its twin is no valid ONNX graph") as caught:
        graph.serialize(what="Its twin")
    assert "--precision fp32" in str(caught.value.hint)


@pytest.mark.parametrize("as_file", [True, False])
def test_what_is_no_graph_is_not_read(tmp_path: Path, as_file: bool) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"text")
    name = r"m\.onnx" if as_file else "The graph"
    with pytest.raises(EngineError, match=rf"{name} cannot be read as an ONNX graph"):
        OnnxGraph.read(path if as_file else b"text")


def test_subgraphs_are_refused() -> None:
    def branch(graph: onnx.GraphProto) -> None:
        value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        inner = helper.make_graph([helper.make_node("Identity", ["out"], ["y"])], "g", [], [value])
        graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        graph.node.append(
            helper.make_node("If", ["yes"], ["z"], name="if", then_branch=inner, else_branch=inner)
        )

    graph = edited(small(), branch, out=4)
    with pytest.raises(InputError, match="If 'if' holds a graph of its own; precision int8 cannot"):
        graph.refuse_subgraphs("precision int8")
    OnnxGraph.read(small().model(out=4)).refuse_subgraphs("precision int8")


def test_further_outputs_change_nothing_else(tmp_path: Path) -> None:
    model, frames = mobile(), noise(2)
    (tmp_path / "m.onnx").write_bytes(model)
    for source in (model, tmp_path / "m.onnx"):
        seen = run(with_outputs(source, ["stem", "maps", "sum"]), frames)
        assert list(seen) == ["logits", "maps", "stem", "sum"]
        for name, value in run(model, frames).items():
            np.testing.assert_array_equal(seen[name], value)
    assert seen["stem"].shape == (2, 8, 10, 10)
