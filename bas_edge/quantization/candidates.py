"""Int8 graphs from one set of statistics: any method, any layers in float, either flavour."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.quantization.codes import Codes, Flavour, pixel_chain
from bas_edge.quantization.equalize import equalize
from bas_edge.quantization.layers import Layer, find_layers, observed_tensors
from bas_edge.quantization.qdq import insert_qdq
from bas_edge.quantization.ranges import tensor_range
from bas_edge.quantization.report import EqualizedTensor
from bas_edge.quantization.statistics import Statistics
from bas_edge.quantization.trained_ranges import TrainedRanges

__all__ = ["TRAINED", "Candidates", "equalized"]

TRAINED = "qat"  # the method whose ranges came with the graph


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What int8 graphs are made from.

    Attributes:
        graph: The float32 graph, equalized where that pays. Never changed.
        layers: What can be quantized.
        statistics: Of every tensor that these layers read or compute.
        flavour: Whose rules the Q/DQ nodes follow.
        reduce_range: Seven bits for weights.
        trained: Ranges of quantization-aware training, for the method "qat".
    """

    graph: OnnxGraph
    layers: tuple[Layer, ...]
    statistics: Statistics
    flavour: Flavour
    reduce_range: bool = False
    trained: TrainedRanges | None = None

    def build(self, method: str, keep: Collection[str] = ()) -> bytes:
        """A serialized int8 graph.

        Args:
            method: How ranges are chosen; see `METHODS`, or TRAINED.
            keep: Layers that stay in float.

        Raises:
            EngineError: onnx's checker refuses the result.
        """
        return self._build(method, [layer for layer in self.layers if layer.node not in keep])

    def build_only(self, method: str, layer: Layer) -> bytes:
        """The same with nothing but one layer quantized."""
        return self._build(method, [layer])

    def _build(self, method: str, layers: list[Layer]) -> bytes:
        graph = self.graph.copy()
        means: dict[str, NDArray[np.float64]] = {}
        if method == TRAINED and self.trained is not None:  # which saw rounded weights
            codes = self.trained.codes(graph, layers, self.flavour)
        else:
            codes = {name: self._codes(graph, name, method) for name in observed_tensors(layers)}
            means = {name: one.mean for name, one in self.statistics.items()}
        insert_qdq(graph, layers, codes, self.flavour, means=means, reduce_range=self.reduce_range)
        return graph.serialize(what="The int8 graph")

    def _codes(self, graph: OnnxGraph, name: str, method: str) -> Codes:
        chain = pixel_chain(graph, name)
        exact = chain.codes(self.flavour) if chain is not None else None
        if exact is not None:
            return exact
        symmetric = self.flavour == "tensorrt"
        bounds = tensor_range(self.statistics[name].histogram, method, symmetric=symmetric)
        return Codes.covering(bounds, self.flavour)


def equalized(
    graph: OnnxGraph, statistics: Statistics
) -> tuple[OnnxGraph, tuple[EqualizedTensor, ...]]:
    """A copy of a graph whose channels were brought to one range, and what was done.

    Statistics of the tensors named there are no longer true.
    """
    copy = graph.copy()
    largest = {name: one.largest for name, one in statistics.items()}
    done = equalize(copy, find_layers(copy), largest)
    return copy, done
