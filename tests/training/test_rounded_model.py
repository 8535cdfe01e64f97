"""The rounded PyTorch model against the int8 graph, as ONNX Runtime computes it node by node."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from bas_edge.engine.onnx_graph import OnnxGraph, with_outputs
from bas_edge.errors import EngineError, InputError
from bas_edge.quantization.codes import Flavour, pixel_chain
from bas_edge.quantization.layers import find_layers, observed_tensors
from bas_edge.quantization.qdq import insert_qdq
from bas_edge.quantization.trained_ranges import TrainedRanges
from bas_edge_training.graph import contract_graph, replace_by_mean, select_classes
from bas_edge_training.mean_generator import MeanGenerator
from bas_edge_training.models import TORCHVISION, BasModel, LossConfig, bas_loss, erased_logits
from bas_edge_training.rounded_model import find_places, observe_ranges, round_as
from bas_edge_training.samples import synthetic_samples

Make = Callable[..., BasModel]
Outputs = list[NDArray[np.float64]]
FLAVOURS: tuple[Flavour, ...] = ("tensorrt", "onnxruntime")


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    return synthetic_samples(side=64, count=8).frames


def torch_outputs(model: BasModel, frames: NDArray[np.uint8]) -> Outputs:
    with torch.no_grad():
        found = model(torch.from_numpy(frames).permute(0, 3, 1, 2))
    return [value.double().numpy() for value in found]


def int8_graph(model: BasModel, trained: TrainedRanges) -> OnnxGraph:
    """Of a model that is not rounded itself."""
    graph = OnnxGraph.read(contract_graph(model).SerializeToString())
    layers = find_layers(graph)
    insert_qdq(graph, layers, trained.codes(graph, layers, trained.flavour), trained.flavour)
    return graph


def plain_options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def dequantized(graph: OnnxGraph, tensor: str) -> str | None:
    """What layers read of a tensor that is quantized; None where nothing does."""
    for node in graph.consumers(tensor):
        if node.op_type == "QuantizeLinear":
            for reader in graph.consumers(node.output[0]):
                if reader.op_type == "DequantizeLinear":
                    return str(reader.output[0])
    return None


def graph_outputs(graph: OnnxGraph, frames: NDArray[np.uint8]) -> Outputs:
    session = ort.InferenceSession(
        graph.serialize(), plain_options(), providers=["CPUExecutionProvider"]
    )
    return [value.astype(np.float64) for value in session.run(None, {"frames": frames})]


def take_biases(model: BasModel, graph: OnnxGraph) -> int:
    """Set the model's biases to the int32 ones of ONNX Runtime's graph; how many there were."""
    taken = 0
    for node in graph.nodes:
        source = graph.producer(node.input[2]) if len(node.input) > 2 else None
        if node.op_type == "Conv" and source is not None:
            codes, scales = (graph.constant(name) for name in source.input[:2])
            bias = model.get_submodule(node.name).bias
            bias.data.copy_(torch.from_numpy(codes * scales))
            taken += 1
    return taken


def noise(got: Outputs, expected: Outputs) -> list[float]:
    """Root mean square difference of each output, on the median frame.

    Not on all: a sum in another order may fall to the other side of a tie, after which codes of
    that frame differ by one.
    """
    return [
        float(np.median(np.sqrt(np.mean((a - b) ** 2, axis=tuple(range(1, a.ndim))))))
        for a, b in zip(got, expected, strict=True)
    ]


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("head", ["edge", "paper"])
def test_rounded_model_is_the_int8_graph(
    head: str, flavour: Flavour, make_model: Make, frames: NDArray[np.uint8]
) -> None:
    model = make_model(head)
    plain = torch_outputs(model, frames)
    trained = observe_ranges(model, frames, flavour=flavour, method="mse")
    graph = int8_graph(model, trained)
    expected = graph_outputs(graph, frames)
    assert min(noise(plain, expected)) > 1e-3
    biases = take_biases(model, graph)
    assert (biases > 20) == (flavour == "onnxruntime")
    places = round_as(model, trained)
    assert max(noise(torch_outputs(model, frames), expected)) < 1e-6  # of float32; values up to 2
    for place in ("pixels", "tail.halved", "trunk.blocks.7.dw.result"):  # none is left out unseen
        assert place in places.observed.values()
        seam = model.get_submodule(place)
        rounding, seam.rounding = seam.rounding, None
        moved = noise(torch_outputs(model, frames), expected)
        assert (max(moved) < 1e-6) == (place == "pixels")  # whose codes are the pixels themselves
        seam.rounding = rounding
    model.get_submodule("trunk.blocks.7.dw.conv").rounding = None
    assert max(noise(torch_outputs(model, frames), expected)) > 1e-5


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("name", ["inception_v3", "mobilenet_v2", "resnet50", "vgg16"])
def test_sums_joints_and_poolings_are_rounded_as_in_the_graph(
    name: str, flavour: Flavour, make_model: Make, frames: NDArray[np.uint8]
) -> None:
    """Place by place, each from the graph's own values: one code at a tie would move all others."""
    model = make_model("paper", architecture=name)
    trained = observe_ranges(model, frames, flavour=flavour, method="mse")
    graph = int8_graph(model, trained)
    take_biases(model, graph)
    places = round_as(model, trained)
    rounded = {tensor: read for tensor in places.rounded if (read := dequantized(graph, tensor))}
    given = with_outputs(graph.model.SerializeToString(), list(rounded.values()))
    session = ort.InferenceSession(given, plain_options(), providers=["CPUExecutionProvider"])
    values = dict(
        zip(rounded, session.run(list(rounded.values()), {"frames": frames}), strict=True)
    )
    differing = {}

    def compare(tensor: str) -> Callable[..., Tensor]:
        def hook(_module: object, _inputs: object, output: Tensor) -> Tensor:
            wanted = torch.from_numpy(values[tensor])
            differing[tensor] = float(((output - wanted).abs() > 1e-4).float().mean())
            return wanted

        return hook

    for tensor in values:
        seam = model.get_submodule(places.observed[tensor])
        seam.register_forward_hook(compare(tensor))
    torch_outputs(model, frames)
    assert differing.keys() == values.keys()
    assert len(values) > 0.9 * len(places.rounded)
    assert max(differing.values()) < 2e-3


def test_only_what_has_a_quantizelinear_is_rounded(make_model: Make) -> None:
    """Results that float layers alone read are quantized for ONNX Runtime, not for TensorRT."""
    model = make_model("edge")
    found = {flavour: find_places(model, flavour) for flavour in FLAVOURS}
    one, other = found["tensorrt"], found["onnxruntime"]
    assert one.observed == other.observed
    assert one.layers == other.layers
    last = {"generator.dw:0", "tail.blocks.1.pw/clip:0"}
    assert set(one.observed) == one.rounded | last
    assert other.rounded == one.rounded | last
    assert "generator.conv" not in one.weights
    assert "head.classifier" not in one.weights
    assert {"generator.dw", "tail.blocks.1.pw.conv", "trunk.stem.conv"} <= set(one.weights)


@pytest.mark.parametrize("shift", [-3, 0, 5])
def test_the_first_codes_are_the_pixels_whatever_the_shift(shift: int, make_model: Make) -> None:
    model = make_model("edge")
    model.set_shift(shift)
    places = find_places(model, "tensorrt")
    (tensor,) = (name for name, seam in places.observed.items() if seam == "pixels")
    assert places.layers[0].sources == (tensor,)
    chain = pixel_chain(places.graph, tensor)
    assert chain is not None
    assert (chain.mean, chain.scale) == (128, 1 / 128)


def test_pixels_that_codes_cannot_hold_get_a_range(
    make_model: Make, frames: NDArray[np.uint8]
) -> None:
    model = make_model("edge")
    model.set_conventions(TORCHVISION)
    trained = observe_ranges(model, frames, flavour="tensorrt", method="min-max")
    places = round_as(model, trained)
    first = places.layers[0].sources[0]
    assert first in places.rounded
    low, high = trained.ranges[first]
    assert -2.2 < low < -1.5
    assert 2 < high < 2.7
    assert trained.images == len(frames)


def test_losses_run_through_the_rounding_and_reach_every_weight(make_model: Make) -> None:
    """Both branches: the erase branch rounds as the tail and head do, and moves only the maps."""
    model = make_model("edge").train()
    frames = torch.from_numpy(synthetic_samples(side=64, count=4).frames).permute(0, 3, 1, 2)
    labels = torch.tensor([0, 1, 2, 3])
    erased = torch.rand(4, model.trunk.channels, 8, 8)
    before = erased_logits(model, erased)
    pixels = frames.permute(0, 2, 3, 1).numpy()
    round_as(model, observe_ranges(model, pixels, flavour="tensorrt", method="mse"))
    assert model.training
    after = erased_logits(model, erased)
    assert 0 < (after - before).abs().max() < 0.2  # of logits up to 1.3
    losses = bas_loss(model, frames, labels, LossConfig())
    losses.total.backward()
    for name, value in model.named_parameters():
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
        assert value.grad.abs().max() > 0, name


def test_observing_leaves_the_model_as_it_was(make_model: Make, frames: NDArray[np.uint8]) -> None:
    model = make_model("edge").train()
    names = list(model.state_dict())
    before = torch_outputs(model, frames)
    first = observe_ranges(model, frames, flavour="tensorrt", method="min-max")
    assert model.training
    assert noise(torch_outputs(model, frames), before) == [0, 0]
    assert observe_ranges(model, frames, flavour="tensorrt", method="min-max") == first
    round_as(model, first)
    assert list(model.state_dict()) == names
    assert max(noise(torch_outputs(model, frames), before)) > 1e-3
    assert round_as(model, first).rounded  # a rounded model can be captured
    assert observe_ranges(model, frames, flavour="tensorrt", method="min-max") == first
    assert noise(torch_outputs(model, frames), before) == [0, 0]
    low, high = first.ranges["trunk.stem/clip:0"]
    assert low == 0 < high <= 6


def test_what_does_not_fit_is_refused(make_model: Make, frames: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match="after BatchNorm is folded"):
        find_places(make_model("edge", norm="batch"), "tensorrt")
    model = make_model("edge")
    trained = observe_ranges(model, frames, flavour="tensorrt", method="min-max")
    del trained.ranges["tail/averagepool:0"]
    with pytest.raises(EngineError, match=r"no trained range for 'tail/averagepool:0' \(1 tensor"):
        round_as(model, trained)
    monkey = make_model("paper")
    monkey.head.result1 = torch.nn.Identity()
    with pytest.raises(InputError, match="int8 rounds 'relu:0', but it passes no Seam"):
        find_places(monkey, "tensorrt")


@pytest.mark.parametrize("form", ["all", "selected", "mean"])
def test_every_form_of_the_graph_has_the_same_tensors(form: str, make_model: Make) -> None:
    model = make_model("paper")
    graph = contract_graph(model)
    if form == "selected":
        select_classes(graph, 2)
    if form == "mean":
        features = model.generator.conv.in_channels
        shares = np.full(2, 0.5, np.float32)
        weights = np.zeros((2, features, 3, 3), np.float32)
        replace_by_mean(graph, MeanGenerator(weights, np.zeros(2, np.float32), shares))
    layers = find_layers(OnnxGraph.read(graph.SerializeToString()))
    assert layers == list(find_places(model, "tensorrt").layers)
    assert observed_tensors(layers) == list(find_places(model, "tensorrt").observed)
