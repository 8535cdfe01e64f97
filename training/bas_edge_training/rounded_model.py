"""A model that rounds where its int8 graph will.

The places are not listed anywhere: the model is captured as its export is, `insert_qdq` makes that
graph's int8 form, and what is quantized there is rounded here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.errors import InputError
from bas_edge.quantization.codes import Codes, Flavour
from bas_edge.quantization.histograms import Histogram
from bas_edge.quantization.layers import Layer, find_layers, observed_tensors
from bas_edge.quantization.qdq import insert_qdq
from bas_edge.quantization.ranges import tensor_range
from bas_edge.quantization.trained_ranges import TrainedRanges
from bas_edge_training.graph import contract_graph
from bas_edge_training.models import BasModel, Conv2d, Seam
from bas_edge_training.rounding import TensorRounding, WeightRounding
from bas_edge_training.trainer import to_network
from bas_edge_training.validation import evaluation_mode

__all__ = [
    "Places",
    "clear_rounding",
    "find_places",
    "observe",
    "observe_ranges",
    "round_as",
]

_BATCH = 8


@dataclass(frozen=True, slots=True)
class Places:
    """Where a model and its exported graph meet.

    Attributes:
        graph: The exported graph in form `all`. Of the others, only what stays float differs.
        layers: What computes in int8.
        observed: Tensors whose ranges int8 needs -> the Seam that they pass through.
        rounded: Those of them that the flavour quantizes.
        weights: Modules whose weights are quantized.
    """

    graph: OnnxGraph
    layers: tuple[Layer, ...]
    observed: dict[str, str]
    rounded: frozenset[str]
    weights: tuple[str, ...]


def find_places(model: BasModel, flavour: Flavour) -> Places:
    """Capture a copy of a model as it is without any rounding; on any device, in any mode.

    Raises:
        InputError: BatchNorm is not folded yet, or a tensor of the int8 graph passes no Seam.
    """
    if model.config.norm != "none":
        raise InputError("int8 rounds after BatchNorm is folded into the layers, not before.")
    passing: dict[str, str] = {}
    plain = copy.deepcopy(model).cpu().eval()
    clear_rounding(plain)
    captured = contract_graph(plain, passing)
    graph = OnnxGraph.read(captured.SerializeToString(), purpose="Quantization-aware training")
    layers = tuple(find_layers(graph))
    seams = {tensor: module for module, tensor in passing.items()}
    for tensor in observed_tensors(layers):
        if tensor not in seams:
            raise InputError(
                f"int8 rounds '{tensor}', but it passes no Seam of the model.",
                hint="Let it pass one in bas_edge_training/models.",
            )
    return Places(
        graph,
        layers,
        {tensor: seams[tensor] for tensor in observed_tensors(layers)},
        _quantized(graph, layers, flavour),
        tuple(_rounded_weights(plain, graph, layers)),
    )


def _rounded_weights(model: BasModel, graph: OnnxGraph, layers: Collection[Layer]) -> Iterator[str]:
    """Modules whose weights are quantized. The equal weights of a mean lose nothing by it."""
    modules = dict(model.named_modules())
    for layer in layers:
        if layer.weighted and layer.node in modules:
            yield layer.node
        elif layer.weighted and np.ptp(graph.weights(graph.node(layer.node))):
            raise InputError(f"int8 rounds the weights of '{layer.node}', which no module owns.")


def observe_ranges(
    model: BasModel, frames: NDArray[np.uint8], *, flavour: Flavour, method: str
) -> TrainedRanges:
    """Run the model in float and choose a range for every tensor that int8 needs one for.

    Args:
        model: On any device, in any mode. If it was rounded, it is no more.
        frames: uint8 [M, H, W, 3] at network size, at least one.
        flavour: Decides places and codes, see `TrainedRanges`.
        method: One of `ranges.METHODS`.
    """
    places = find_places(model, flavour)
    found = {tensor: Histogram() for tensor in places.observed}
    observe(model, places, frames, {tensor: one.add for tensor, one in found.items()})
    ranges = {
        tensor: tensor_range(histogram, method, symmetric=flavour == "tensorrt")
        for tensor, histogram in found.items()
    }
    return TrainedRanges(flavour=flavour, method=method, images=len(frames), ranges=ranges)


def observe(
    model: BasModel,
    places: Places,
    frames: NDArray[np.uint8],
    observers: Mapping[str, Callable[[NDArray[np.float32]], None]],
) -> None:
    """Run the model in float and show tensors of its graph, batch by batch, to who asks for them.

    Args:
        model: On any device, in any mode. If it was rounded, it is no more.
        places: Of this model.
        frames: uint8 [M, H, W, 3] at network size, at least one.
        observers: By the name of a tensor of `places.observed`; called with its values.
    """
    clear_rounding(model)
    device = next(model.parameters()).device
    try:
        for tensor, observer in observers.items():
            _seam(model, places.observed[tensor]).rounding = _Observer(observer)
        with evaluation_mode(model):
            for at in range(0, len(frames), _BATCH):
                model(to_network(torch.from_numpy(frames[at : at + _BATCH]), device))
    finally:
        clear_rounding(model)


def round_as(model: BasModel, trained: TrainedRanges) -> Places:
    """From now on the model computes what the int8 graph with these ranges does.

    Raises:
        EngineError: A tensor of the model has no range.
        InputError: See `find_places`.
    """
    places = find_places(model, trained.flavour)
    codes = trained.codes(places.graph, places.layers, trained.flavour)
    for tensor in places.rounded:
        rounding = TensorRounding.of(codes[tensor], trained.flavour)
        _seam(model, places.observed[tensor]).rounding = rounding
    for name in places.weights:
        layer = model.get_submodule(name)
        assert isinstance(layer, Conv2d)  # as every layer of the models is that int8 takes
        layer.rounding = WeightRounding()
    return places


def clear_rounding(model: BasModel) -> None:
    """From now on the model computes in float again."""
    for module in model.modules():
        if isinstance(module, (Seam, Conv2d)):
            module.rounding = None


@dataclass(frozen=True, slots=True)
class _Observer:
    """Shows what passes."""

    show: Callable[[NDArray[np.float32]], None]

    def __call__(self, x: Tensor) -> Tensor:
        self.show(x.detach().float().cpu().numpy())
        return x


def _quantized(graph: OnnxGraph, layers: tuple[Layer, ...], flavour: Flavour) -> frozenset[str]:
    """The tensors that have a QuantizeLinear in the int8 graph.

    A Seam rounds a tensor for all its readers, so all of them have to read codes there.
    """
    names = observed_tensors(layers)
    anything: Mapping[str, Codes] = {name: Codes(np.float32(1.0)) for name in names}
    coded = graph.copy()
    insert_qdq(coded, layers, anything, flavour)
    rounded = {node.input[0] for node in coded.nodes if node.op_type == "QuantizeLinear"}
    for node in coded.nodes:
        for name in node.input:
            if name in rounded and node.op_type != "QuantizeLinear":
                raise InputError(f"'{node.name}' reads '{name}' in float, others read its codes.")
    return frozenset(rounded)


def _seam(model: BasModel, name: str) -> Seam:
    found = model.get_submodule(name)
    assert isinstance(found, Seam)
    return found
