"""Which layers of an exported graph compute in eight bits, and between which tensors."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from bas_edge.engine.float_regions import float_regions
from bas_edge.engine.onnx_graph import OnnxGraph

__all__ = ["Layer", "find_layers", "observed_tensors"]

_WITH_WEIGHTS = {"Conv", "Gemm", "MatMul"}
_WITHOUT = {"AveragePool", "MaxPool", "Concat", "Add"}
_ACTIVATIONS = {"Relu", "Clip"}


@dataclass(frozen=True, slots=True)
class Layer:
    """A node that can be quantized, with the activation behind it.

    Attributes:
        node: Its name.
        operator: "Conv", "Gemm", "MatMul", "AveragePool", "MaxPool", "Concat" or "Add".
        sources: The tensors it reads, without its weights.
        result: What it computes, behind its activation.
        activation: Name of the Relu or Clip that alone reads the node; "" where there is none.
    """

    node: str
    operator: str
    sources: tuple[str, ...]
    result: str
    activation: str = ""

    @property
    def weighted(self) -> bool:
        return self.operator in _WITH_WEIGHTS


def find_layers(graph: OnnxGraph) -> list[Layer]:
    """The layers of an exported float32 graph outside the regions that stay in float, in order."""
    kept = float_regions(graph)
    return [
        _layer(graph, node, kept)
        for node in graph.nodes
        if node.name not in kept
        and _can_be_quantized(graph, node)
        and (node.op_type != "Concat" or _feeds_codes(graph, node, kept))
    ]


def observed_tensors(layers: Collection[Layer]) -> list[str]:
    """The tensors whose values decide the ranges of these layers."""
    names = (name for layer in layers for name in (*layer.sources, layer.result))
    return list(dict.fromkeys(names))


def _can_be_quantized(graph: OnnxGraph, node: Any) -> bool:
    inputs = graph.activation_inputs(node)
    if set(node.output) & set(graph.outputs):
        return False
    if not all(graph.is_float(name) for name in (*inputs, *node.output)):
        return False
    if node.op_type in _WITH_WEIGHTS:
        if len(inputs) != 1 or inputs[0] != node.input[0]:
            return False  # weights that are computed, or on the left
        if node.op_type == "Gemm":
            return _is_linear(graph, node)
        return graph.weights(node).ndim >= 2
    return node.op_type in _WITHOUT and len(inputs) == len(set(inputs)) == len(node.input)


def _feeds_codes(graph: OnnxGraph, joint: Any, kept: Collection[str]) -> bool:
    """Whether somebody computes in eight bits with what was joined: else that costs its codes."""
    readers = graph.consumers(joint.output[0])
    return any(
        reader.name not in kept and reader.op_type in _WITH_WEIGHTS | _WITHOUT - {"Concat"}
        for reader in readers
    )


def _is_linear(graph: OnnxGraph, gemm: Any) -> bool:
    """Whether a Gemm is inputs times weights, and perhaps one bias for each output."""
    factors = {graph.attribute(gemm, name, 1.0) for name in ("alpha", "beta")}
    if factors != {1.0} or graph.attribute(gemm, "transA", 0):
        return False
    bias = graph.constant(gemm.input[2]) if len(gemm.input) > 2 and gemm.input[2] else None
    return bias is None or bias.size == (bias.shape[-1] if bias.ndim else 1)


def _layer(graph: OnnxGraph, node: Any, kept: Collection[str]) -> Layer:
    result, activation = node.output[0], ""
    readers = graph.consumers(result)
    if (
        (node.op_type in _WITH_WEIGHTS or node.op_type == "Add")
        and len(readers) == 1
        and readers[0].op_type in _ACTIVATIONS
        and readers[0].input[0] == result
        and readers[0].name not in kept
        and readers[0].output[0] not in graph.outputs
    ):
        activation, result = readers[0].name, readers[0].output[0]
    return Layer(node.name, node.op_type, tuple(graph.activation_inputs(node)), result, activation)
