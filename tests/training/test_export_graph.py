"""The graph contract: names, types, the three forms, and what the graph is made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor, nn

from bas_edge.errors import InputError
from bas_edge_training.capture import capture
from bas_edge_training.graph import (
    contract_graph,
    find_class_maps,
    replace_by_mean,
    select_classes,
)
from bas_edge_training.mean_generator import MeanGenerator
from bas_edge_training.models import TORCHVISION, BasModel
from bas_edge_training.parity import run_onnx

HEADS = ["edge", "paper"]


def noise(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 64, 64, 3), np.uint8)


def torch_outputs(model: BasModel, frames: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
    with torch.no_grad():
        logits, maps = model(torch.from_numpy(frames).permute(0, 3, 1, 2))
    return logits.numpy(), maps.numpy()


def signature(model: onnx.ModelProto) -> dict[str, tuple[int, list[str | int]]]:
    return {
        value.name: (
            value.type.tensor_type.elem_type,
            [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
        )
        for value in [*model.graph.input, *model.graph.output]
    }


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("head", HEADS)
def test_all_maps_equal_pytorch(make_model: Callable[..., BasModel], head: str, norm: str) -> None:
    model = make_model(head, norm=norm)
    graph = contract_graph(model)
    onnx.checker.check_model(graph, full_check=True)
    assert signature(graph) == {
        "frames": (TensorProto.UINT8, ["N", 64, 64, 3]),
        "logits": (TensorProto.FLOAT, ["N", 6]),
        "maps": (TensorProto.FLOAT, ["N", 6, 8, 8]),
    }
    for count in (1, 3):
        frames = noise(count)
        logits, maps = torch_outputs(model, frames)
        got = run_onnx(graph, frames)
        assert np.ptp(maps) > 0.1  # not a model whose maps are all one half
        np.testing.assert_allclose(got["logits"], logits, atol=1e-5)
        np.testing.assert_allclose(got["maps"], maps, atol=1e-5)


def test_torchvision_conventions_are_exported(make_model: Callable[..., BasModel]) -> None:
    model = make_model("edge")
    model.set_conventions(TORCHVISION)
    graph = contract_graph(model)
    frames = noise(2)
    _, maps = torch_outputs(model, frames)
    np.testing.assert_allclose(run_onnx(graph, frames)["maps"], maps, atol=1e-5)
    assert "Clip" not in {node.op_type for node in graph.graph.node}


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("head", HEADS)
def test_selected_maps_are_those_of_the_best_classes(
    make_model: Callable[..., BasModel], head: str, k: int
) -> None:
    model = make_model(head)
    graph = select_classes(contract_graph(model), k)
    onnx.checker.check_model(graph, full_check=True)
    assert signature(graph)["classes"] == (TensorProto.INT32, ["N", k])
    assert signature(graph)["maps"] == (TensorProto.FLOAT, ["N", k, 8, 8])
    for count in (1, 3):
        frames = noise(count)
        _, maps = torch_outputs(model, frames)
        got = run_onnx(graph, frames)
        best = np.argsort(-got["logits"], axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(got["classes"], best)
        expected = np.take_along_axis(maps, best[:, :, None, None], axis=1)
        np.testing.assert_allclose(got["maps"], expected, atol=1e-5)


def test_equal_logits_select_the_lower_class(make_model: Callable[..., BasModel]) -> None:
    model = make_model("edge")
    with torch.no_grad():
        model.head.classifier.weight.zero_()
        model.head.classifier.bias.copy_(torch.tensor([0.0, 2.0, 1.0, 2.0, 1.0, 0.0]))
    got = run_onnx(select_classes(contract_graph(model), 4), noise(2))
    np.testing.assert_array_equal(got["classes"], [[1, 3, 2, 4]] * 2)


@pytest.mark.parametrize("head", HEADS)
def test_mean_generator_replaces_the_class_maps(
    make_model: Callable[..., BasModel], head: str
) -> None:
    model = make_model(head)
    graph = contract_graph(model)
    end = find_class_maps(graph)
    exact = MeanGenerator(end.weight, end.bias, np.full(6, 1 / 6, np.float32))
    replace_by_mean(graph, exact)
    onnx.checker.check_model(graph, full_check=True)
    assert list(signature(graph)) == ["frames", "logits", "foreground"]
    frames = noise(3)
    mean = torch_outputs(model, frames)[1].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(run_onnx(graph, frames)["foreground"], mean, atol=1e-5)


def test_graph_is_what_tensorrt_and_onnxruntime_like(make_model: Callable[..., BasModel]) -> None:
    nodes = contract_graph(make_model("edge")).graph.node
    assert [node.op_type for node in nodes[:4]] == ["Cast", "Transpose", "Sub", "Div"]
    backbone = {node.op_type for node in nodes[4:-1]}
    pools = {"AveragePool", "GlobalAveragePool"}
    assert backbone <= {"Conv", "Clip", "Relu", "Add", "Concat", "Flatten"} | pools
    assert nodes[-1].op_type == "Sigmoid"
    stem = next(node for node in nodes if node.name == "trunk.stem.conv")
    pads = next(a.ints for a in stem.attribute if a.name == "pads")
    assert list(pads) == [0, 0, 1, 1]  # TensorFlow's SAME, without a Pad node


def test_no_initializer_is_left_unused(make_model: Callable[..., BasModel]) -> None:
    for form in (lambda g: g, lambda g: select_classes(g, 2)):
        graph = form(contract_graph(make_model("paper"))).graph
        used = {name for node in graph.node for name in node.input}
        assert {i.name for i in graph.initializer} <= used


def test_unknown_operation_is_named_with_its_module() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return (torch.cumsum(x, 1),)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.odd = Odd()

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return self.odd(x)

    model = Model().eval()
    with pytest.raises(InputError, match="'cumsum', used in 'odd'"):
        capture(model, torch.zeros(2, 3), module=model, input_name="x", output_names=("y",))
    assert not model.odd._forward_hooks


def test_shapes_move_everything_but_the_batch() -> None:
    x = torch.arange(48, dtype=torch.float32).reshape(2, 2, 3, 4)
    module = nn.Identity()

    def shaped(batch: Tensor) -> tuple[Tensor, ...]:
        cells = batch.flatten(2).transpose(1, 2)
        return (cells.matmul(batch.flatten(2)).abs().amax(1).reshape(-1, 3, 4),)

    graph = capture(shaped, x, module=module, input_name="frames", output_names=("y",))
    onnx.checker.check_model(graph, full_check=True)
    for batch in (x, torch.cat((x, -x, x[:1]))):
        (expected,) = shaped(batch)
        got = run_onnx(graph, batch.numpy())["y"]
        np.testing.assert_allclose(got, expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("fixed", [lambda x: (x.reshape(4, 12),), lambda x: (x.flatten(0, 1),)])
def test_shapes_that_would_fix_the_batch_are_refused(
    fixed: Callable[[Tensor], tuple[Tensor, ...]],
) -> None:
    x = torch.zeros(2, 2, 3, 4)
    with pytest.raises(InputError, match="can reshape everything but the batch"):
        capture(fixed, x, module=nn.Identity(), input_name="x", output_names=("y",))
