"""Float16 graphs: what is converted, what stays, and how far the outputs move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from bas_edge.engine.precision import HalfGraph, to_half
from bas_edge.errors import EngineError, InputError

# Rounding a weight or a result to float16 is 2^-11 relative. Sums of up to 64 rounded terms, of
# outputs below 32 in size, stay within a few of those steps of 32.
LOGIT_BOUND = 4 * 32 * 2**-11


def run(model: bytes, frames: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {"frames": frames}), strict=True))


def run_rounded(model: bytes, frames: np.ndarray) -> dict[str, np.ndarray]:
    """The same with ONNX's own reference, which rounds every float16 result, as a GPU does.

    ONNX Runtime computes float16 layers in float32 and may leave roundings between them out.
    """
    evaluator = ReferenceEvaluator(onnx.load_from_string(model))
    return dict(zip(evaluator.output_names, evaluator.run(None, {"frames": frames}), strict=True))


def noise(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, side, side, 3), np.uint8)


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor → element type, of everything in the graph."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {value.name: value.data_type for value in inferred.initializer}


def operators(graph: HalfGraph, element: int) -> list[str]:
    """The operators whose first result has this type, Casts aside, in order."""
    model = onnx.load_from_string(graph.model)
    types = types_of(model)
    return [
        node.op_type
        for node in model.graph.node
        if types[node.output[0]] == element and node.op_type != "Cast"
    ]


@pytest.mark.parametrize("maps", ["all", "selected", "mean"])
def test_a_tiny_graph_agrees_and_keeps_its_inputs_and_outputs(
    tmp_path: Path, tiny_onnx: Callable[..., Path], maps: str
) -> None:
    path = tiny_onnx(tmp_path / "m.onnx", maps=maps, classes=("a", "b", "c", "d"))
    graph = to_half(path)
    before, after = onnx.load(path).graph, onnx.load_from_string(graph.model).graph
    assert after.input == before.input
    assert [(each.name, each.type) for each in after.output] == [
        (each.name, each.type) for each in before.output
    ]
    assert operators(graph, TensorProto.FLOAT16) == ["Conv"]  # the classifier's, before the pooling
    assert (graph.half, graph.half + graph.kept) == (1, len(before.node))
    single, half = run(path.read_bytes(), noise(3, 32)), run(graph.model, noise(3, 32))
    assert np.abs(half["logits"] - single["logits"]).max() < LOGIT_BOUND
    for name in set(single) - {"logits"}:
        assert half[name].dtype == single[name].dtype
        np.testing.assert_array_equal(half[name], single[name])  # computed in float32 throughout


def test_the_list_of_what_stays_in_float32(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    graph = to_half(tiny_onnx(tmp_path / "m.onnx", maps="selected"))
    assert operators(graph, TensorProto.FLOAT) == [
        *("Transpose", "Mul", "AveragePool"),  # before the first weights: normalisation
        *("GlobalAveragePool", "Flatten", "Mul"),  # from the pooling to the logits
        *("Conv", "Sigmoid"),  # the end of the generator
        "TopK",
        "GatherND",
    ]


def test_a_mean_map_keeps_its_last_layer_before_the_sigmoid_too(
    tmp_path: Path, graphs: ModuleType
) -> None:
    """Shares come after the sigmoid: Conv, Sigmoid and the Conv of the shares all stay."""
    model = graphs.tiny_model(graphs.tiny_manifest(maps="mean"))
    share = numpy_helper.from_array(np.full((1, 1, 1, 1), 0.5, np.float32), "shares")
    model.graph.initializer.append(share)
    conv = next(node for node in model.graph.node if node.output[0] == "any")
    conv.input[0] = "response_map"
    model.graph.node[-1].output[0] = "every"
    weights = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w_before")
    model.graph.initializer.append(weights)
    at = list(model.graph.node).index(conv)
    model.graph.node.insert(at, helper.make_node("Conv", ["cells", "w_before"], ["response_map"]))
    model.graph.node.append(helper.make_node("Conv", ["every", "shares"], ["foreground"]))
    graph = to_half(graphs.save(tmp_path / "m.onnx", model, None))
    assert operators(graph, TensorProto.FLOAT16) == ["Conv", "Conv"]  # classifier's, `w_before`'s
    assert operators(graph, TensorProto.FLOAT)[-3:] == ["Conv", "Sigmoid", "Conv"]


def test_names_that_are_taken_are_left_alone(graphs: ModuleType, tmp_path: Path) -> None:
    model = deeper(graphs)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["shared_fp16" if name == "two" else name for name in names]
    graph = to_half(graphs.save(tmp_path / "m.onnx", model, None))
    assert b"shared_fp16_" in graph.model
    run(graph.model, noise(1, 32))


def test_metadata_is_kept(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    path = tiny_onnx(tmp_path / "m.onnx")
    kept = onnx.load_from_string(to_half(path).model).metadata_props
    assert list(kept) == list(onnx.load(path).metadata_props)


# Graphs made for one question each


def deeper(graphs: ModuleType, *, weights: dict[str, Any] | None = None) -> onnx.ModelProto:
    """The tiny graph with three layers more in front: two share weights, and one is a Resize."""
    model = graphs.tiny_model(graphs.tiny_manifest())
    graph = model.graph
    extra = {
        "shared": np.eye(3, dtype=np.float32)[:, :, None, None],
        "low": np.float32(0),
        "high": np.float32(6),
        "scales": np.array([1, 1, 1, 1], np.float32),
        **(weights or {}),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in extra.items())
    nodes = [
        helper.make_node("Conv", ["cells", "shared"], ["one"], name="first"),
        helper.make_node("Clip", ["one", "low", "high"], ["two"], name="clip"),
        helper.make_node("Conv", ["two", "shared"], ["three"], name="second"),
        helper.make_node("Resize", ["three", "", "scales"], ["four"], name="grow", mode="nearest"),
    ]
    at = next(i for i, node in enumerate(graph.node) if "cells" in node.input)
    for node in list(graph.node)[at:]:
        node.input[:] = ["four" if name == "cells" else name for name in node.input]
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*old[:at], *nodes, *old[at:]])
    onnx.checker.check_model(model, full_check=True)
    return model


def converted(graphs: ModuleType, tmp_path: Path, **options: Any) -> HalfGraph:
    path = graphs.save(tmp_path / "deep.onnx", deeper(graphs, **options), None)
    graph = to_half(path)
    single = run(path.read_bytes(), noise(2, 32))
    for half in (run(graph.model, noise(2, 32)), run_rounded(graph.model, noise(2, 32))):
        assert np.abs(half["logits"] - single["logits"]).max() < LOGIT_BOUND
        assert np.abs(half["maps"] - single["maps"]).max() < LOGIT_BOUND
    return graph


def test_shared_weights_are_converted_once(graphs: ModuleType, tmp_path: Path) -> None:
    graph = converted(graphs, tmp_path)
    model = onnx.load_from_string(graph.model)
    names = [value.name for value in model.graph.initializer]
    assert names.count("shared_fp16") == 1
    assert "shared" not in names
    readers = [node.name for node in model.graph.node if "shared_fp16" in node.input]
    assert readers == ["first", "second"]
    assert graph.notes == ()


def test_one_cast_serves_all_who_read_it(graphs: ModuleType, tmp_path: Path) -> None:
    model = onnx.load_from_string(converted(graphs, tmp_path).model)
    casts = [node.input[0] for node in model.graph.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))
    assert sorted(casts) == ["cells", "four", "frames", "response"]


def test_an_input_that_must_be_float32_stays_so(graphs: ModuleType, tmp_path: Path) -> None:
    graph = converted(graphs, tmp_path)
    assert "Resize" in operators(graph, TensorProto.FLOAT16)
    types = types_of(onnx.load_from_string(graph.model))
    assert types["scales"] == TensorProto.FLOAT  # ONNX defines no other type for it


def test_a_constant_beyond_float16_keeps_its_layer_and_is_named(
    graphs: ModuleType, tmp_path: Path
) -> None:
    graph = converted(graphs, tmp_path, weights={"high": np.float32(1e6)})
    (note,) = graph.notes
    assert note == (
        "Clip 'clip' stays in float32: its 'high' holds 1e+06, and float16 ends at 65504."
    )
    assert "Clip" in operators(graph, TensorProto.FLOAT)


def test_a_constant_that_would_become_zero_keeps_its_layer(
    graphs: ModuleType, tmp_path: Path
) -> None:
    graph = converted(graphs, tmp_path, weights={"low": np.float32(1e-9)})
    assert "its 'low' is 1e-09, which is 0 in float16" in graph.notes[0]


def test_infinity_is_a_float16_too(graphs: ModuleType, tmp_path: Path) -> None:
    assert converted(graphs, tmp_path, weights={"high": np.float32("inf")}).notes == ()


def test_constant_nodes_are_weights_too(graphs: ModuleType, tmp_path: Path) -> None:
    model = deeper(graphs)
    shared = next(value for value in model.graph.initializer if value.name == "shared")
    node = helper.make_node("Constant", [], ["shared"], value=shared)
    model.graph.initializer.remove(shared)
    model.graph.node.insert(0, node)
    graph = to_half(graphs.save(tmp_path / "m.onnx", model, None))
    assert b"shared_fp16" in graph.model
    run(graph.model, noise(1, 32))


def test_an_output_that_a_float16_layer_computes_gets_its_type_back(
    graphs: ModuleType, tmp_path: Path
) -> None:
    model = deeper(graphs)
    model.graph.output.append(helper.make_tensor_value_info("two", TensorProto.FLOAT, None))
    graph = to_half(graphs.save(tmp_path / "m.onnx", model, None))
    assert run(graph.model, noise(1, 32))["two"].dtype == np.float32


def test_a_layer_with_a_graph_inside_is_refused(graphs: ModuleType, tmp_path: Path) -> None:
    model = deeper(graphs)
    inner = [
        helper.make_graph(
            [helper.make_node("Identity", ["three"], [f"out_{name}"])],
            name,
            [],
            [helper.make_tensor_value_info(f"out_{name}", TensorProto.FLOAT, None)],
        )
        for name in ("then", "else")
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    branch = helper.make_node(
        "If", ["yes"], ["chosen"], name="if", then_branch=inner[0], else_branch=inner[1]
    )
    at = next(i for i, node in enumerate(model.graph.node) if node.name == "grow")
    model.graph.node[at].input[0] = "chosen"
    model.graph.node.insert(at, branch)
    path = graphs.save(tmp_path / "m.onnx", model, None)
    with pytest.raises(InputError, match="'if' holds a graph of its own"):
        to_half(path)


def test_a_quantized_graph_is_refused(graphs: ModuleType, tmp_path: Path) -> None:
    model = deeper(graphs)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "step"))
    model.graph.initializer.append(numpy_helper.from_array(np.int8(0), "zero"))
    model.graph.node.append(helper.make_node("QuantizeLinear", ["three", "step", "zero"], ["q"]))
    with pytest.raises(InputError, match="The graph is quantized"):
        to_half(graphs.save(tmp_path / "m.onnx", model, None))


def test_what_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"text")
    with pytest.raises(EngineError, match=r"m\.onnx cannot be read as an ONNX graph"):
        to_half(tmp_path / "m.onnx")
