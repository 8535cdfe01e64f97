"""The parts of an exported graph where rounding costs boxes, whatever the precision of the rest.

- everything before the first layer with weights (cast, transpose, normalisation of the frame);
- the classifier: from the global pooling to `logits`, and all that reads `logits`;
- the end of the generator: its last layer with weights before the sigmoid, the sigmoid, and all
  between it and the maps. Of class activation maps, and of a segmenter's scores: the 1x1
  convolution that computes them. Where features are multiplied by features (Eigen-CAM): all of
  that, and no layer with weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bas_edge.engine.onnx_graph import OnnxGraph

__all__ = ["MAP_OUTPUTS", "WEIGHTED", "float_regions"]

MAP_OUTPUTS = ("maps", "foreground", "scores")
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_POOLING = {"GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum", "ReduceMax"}
_SIGMOIDS = {"Sigmoid", "HardSigmoid", "Softmax"}
_ACTIVATIONS = {"Relu", "Clip"}
_MOVING = {"Gather", "Reshape", "Transpose"}  # weights that only change places on their way


def float_regions(graph: OnnxGraph, map_outputs: Iterable[str] = MAP_OUTPUTS) -> set[str]:
    """Names of the nodes that stay in float32; `map_outputs` are names its map output may have."""
    classifier = _before_weights(graph) | _classifier(graph)
    return classifier | _generator_end(graph, set(map_outputs), classifier)


def _before_weights(graph: OnnxGraph) -> set[str]:
    """Nodes that no layer with weights comes before."""
    after: set[str] = set()
    for node in graph.nodes:
        if node.op_type in WEIGHTED or any(source.name in after for source in _all(graph, node)):
            after.add(node.name)
    return {node.name for node in graph.nodes} - after


def _classifier(graph: OnnxGraph) -> set[str]:
    """From the global pooling to `logits`, and every node that depends on `logits` alone."""
    kept: set[str] = set()
    end = graph.producer("logits")
    pending = [] if end is None else [end]
    pooled = _has_before(graph, pending, _POOLING)
    while pending:
        node = pending.pop()
        if node.name in kept:
            continue
        kept.add(node.name)
        if node.op_type in _POOLING or (not pooled and node.op_type in WEIGHTED):
            continue
        pending += _sources(graph, node)
    depends = {"logits"}
    for node in graph.nodes:
        inputs = set(graph.activation_inputs(node))
        if inputs and inputs <= depends:
            kept.add(node.name)
            depends |= set(node.output)
    return kept


def _generator_end(graph: OnnxGraph, outputs: set[str], classifier: set[str]) -> set[str]:
    """From the last layer with weights before the sigmoid to the maps."""
    kept: set[str] = set()
    producers = [graph.producer(name) for name in graph.outputs if name in outputs]
    ends = [node for node in producers if node is not None]
    sigmoid_ahead = _has_before(graph, ends, _SIGMOIDS)
    # (node, whether the sigmoid is behind, whether a product of features is)
    pending = [(node, not sigmoid_ahead, False) for node in ends]
    while pending:
        node, passed, product = pending.pop()
        if node.name in kept or node.name in classifier:
            continue
        weighted = node.op_type in WEIGHTED and _reads_weights(graph, node)
        if product and (weighted or node.op_type in _ACTIVATIONS):
            continue  # the features themselves
        kept.add(node.name)
        if weighted and passed:
            continue
        passed = passed or node.op_type in _SIGMOIDS
        product = product or (node.op_type in WEIGHTED and not weighted)
        pending += [(source, passed, product) for source in _sources(graph, node)]
    return kept


def _reads_weights(graph: OnnxGraph, node: Any) -> bool:
    """Whether one of a product's factors is a constant, or parts of one that the graph picks."""
    for tensor in node.input:
        name = tensor
        while (source := graph.producer(name)) is not None and source.op_type in _MOVING:
            name = source.input[0]
        if graph.constant(name) is not None:
            return True
    return False


def _has_before(graph: OnnxGraph, start: list[Any], operators: set[str]) -> bool:
    """Whether one of `operators` is found before a second layer with weights."""
    pending, seen = [(node, 0) for node in start], set[str]()
    while pending:
        node, layers = pending.pop()
        if node.op_type in operators:
            return True
        layers += node.op_type in WEIGHTED
        if node.name not in seen and layers < 2:
            seen.add(node.name)
            pending += [(source, layers) for source in _sources(graph, node)]
    return False


def _all(graph: OnnxGraph, node: Any) -> list[Any]:
    found = (graph.producer(name) for name in node.input)
    return [source for source in found if source is not None]


def _sources(graph: OnnxGraph, node: Any) -> list[Any]:
    """The nodes that compute the floating point inputs of a node."""
    found = (graph.producer(name) for name in node.input if graph.is_float(name))
    return [source for source in found if source is not None]
