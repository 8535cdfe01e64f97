"""The parity check passes what is right and catches what is wrong, small as it may be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.errors import BackendError, EngineError
from bas_edge_training.graph import contract_graph, select_classes
from bas_edge_training.models import BasModel
from bas_edge_training.parity import Parity, check_parity

FRAMES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
THRESHOLD = ThresholdPolicy(rule="mean", value=1.5)


def check(graph: onnx.ModelProto, model: BasModel, top_k: int = 2) -> Parity:
    return check_parity(graph, model, FRAMES, top_k=top_k, threshold=THRESHOLD)


def change(graph: onnx.ModelProto, name: str, factor: float) -> None:
    old = next(i for i in graph.graph.initializer if i.name == name)
    new = numpy_helper.to_array(old) * np.float32(factor)
    old.CopyFrom(numpy_helper.from_array(new, name))


@pytest.mark.parametrize("head", ["edge", "paper"])
def test_exported_graph_agrees(make_model: Callable[..., BasModel], head: str) -> None:
    model = make_model(head)
    report = check(contract_graph(model), model)
    assert [row.output for row in report.rows] == ["logits", "maps", "foreground"]
    assert all(row.max_abs_error <= row.tolerance < 1e-3 for row in report.rows)
    assert report.images == 4
    assert report.box_iou > 0.99


def test_selected_maps_are_compared_by_class(make_model: Callable[..., BasModel]) -> None:
    model = make_model("paper")
    report = check(select_classes(contract_graph(model), 3), model)
    assert report.rows[-1].output == "classes"
    assert report.rows[-1].max_abs_error == 0


@pytest.mark.parametrize(
    ("weights", "output"),
    [("head.classifier.weight", "logits"), ("generator.conv.bias", "maps")],
)
def test_a_changed_weight_is_caught(
    make_model: Callable[..., BasModel], weights: str, output: str
) -> None:
    model = make_model("edge")
    graph = contract_graph(model)
    change(graph, weights, 1.001)
    with pytest.raises(EngineError, match=f"differs from PyTorch: {output} by"):
        check(graph, model)


def test_classes_in_another_order_are_caught(make_model: Callable[..., BasModel]) -> None:
    model = make_model("edge")
    graph = select_classes(contract_graph(model), 3)
    top = next(node for node in graph.graph.node if node.op_type == "TopK")
    next(a for a in top.attribute if a.name == "largest").i = 0
    with pytest.raises(EngineError, match="classes by"):
        check(graph, model)


def test_nan_is_caught(make_model: Callable[..., BasModel]) -> None:
    model = make_model("edge")
    graph = contract_graph(model)
    change(graph, "head.classifier.bias", float("nan"))
    with pytest.raises((EngineError, ValueError), match=r"logits|NaN"):
        check(graph, model)


def test_graph_that_does_not_load_is_a_backend_error(make_model: Callable[..., BasModel]) -> None:
    model = make_model("edge")
    graph = contract_graph(model)
    graph.graph.node[4].op_type = "Nope"
    with pytest.raises(BackendError, match="refused the exported graph"):
        check(graph, model)
