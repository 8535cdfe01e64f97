"""The same function in a form that ONNX Runtime's 8-bit kernels are faster at.

Its average pooling of codes takes several times what a depthwise convolution takes, and joining
tensors only for a 1x1 convolution to read them costs two copies.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bas_edge.engine.float_regions import float_regions
from bas_edge.engine.onnx_graph import OnnxGraph

__all__ = ["cpu_form"]


def cpu_form(graph: OnnxGraph) -> OnnxGraph:
    """A copy of a float32 graph, without AveragePool and Concat where they can be avoided.

    Pooling is rewritten where it may compute in eight bits, and a joined 1x1 convolution where it
    stays in float: in eight bits its parts would each be rounded. So the same layers can be
    quantized as before. Nodes and tensors keep their names; what is added is named after the
    node it came from.
    """
    copy = graph.copy()
    kept = float_regions(copy)
    nodes: list[Any] = []
    unread: set[str] = set()
    for node in copy.nodes:
        in_float = node.name in kept
        if not in_float and node.op_type == "AveragePool" and _plain(copy, node):
            nodes.append(_as_convolution(copy, node))
        elif in_float and node.op_type == "Conv" and (joined := _joined(copy, node)) is not None:
            nodes += _split(copy, node, joined)
            unread.add(joined.name)
        else:
            nodes.append(node)
    copy.set_nodes(node for node in nodes if node.name not in unread)
    return OnnxGraph.read(copy.model.SerializeToString())  # with the types of what is new


def _plain(graph: OnnxGraph, node: Any) -> bool:
    """Whether every output is the mean of as many inputs as the kernel has cells."""
    shape = graph.shape(node.input[0])
    return (
        shape is not None
        and len(shape) == 4
        and shape[1] is not None
        and not any(graph.attribute(node, "pads", []))
        and not graph.attribute(node, "ceil_mode", 0)
        and graph.attribute(node, "auto_pad", b"NOTSET") == b"NOTSET"
    )


def _as_convolution(graph: OnnxGraph, node: Any) -> Any:
    """A depthwise convolution whose weights are all 1 / (cells of the kernel)."""
    channels = (graph.shape(node.input[0]) or ())[1]
    kernel = list(graph.attribute(node, "kernel_shape"))
    weights = np.full((channels, 1, *kernel), 1 / math.prod(kernel), np.float32)
    name = graph.add_constant(f"{node.name}/share", weights)
    return graph.onnx.helper.make_node(
        "Conv",
        [node.input[0], name],
        list(node.output),
        node.name,
        group=channels,
        kernel_shape=kernel,
        strides=list(graph.attribute(node, "strides", [1] * len(kernel))),
        dilations=list(graph.attribute(node, "dilations", [1] * len(kernel))),
    )


def _joined(graph: OnnxGraph, node: Any) -> Any | None:
    """The Concat of channels that a 1x1 convolution, and nothing else, reads."""
    source = graph.producer(node.input[0])
    weights = graph.constant(node.input[1])
    if source is None or weights is None or source.op_type != "Concat":
        return None
    channels = [(graph.shape(name) or (None, None))[1] for name in source.input]
    alone = len(graph.consumers(node.input[0])) == 1 and node.input[0] not in graph.outputs
    pointwise = weights.shape[2:] == (1, 1) and graph.attribute(node, "group", 1) == 1
    fits = len(channels) > 1 and None not in channels and graph.attribute(source, "axis") == 1
    return source if alone and pointwise and fits else None


def _split(graph: OnnxGraph, node: Any, joined: Any) -> list[Any]:
    """One convolution for each tensor, and their sum; the first has the bias."""
    weights = graph.weights(node)
    parts: list[Any] = []
    start, total = 0, ""
    for at, name in enumerate(joined.input):
        count = (graph.shape(name) or (0, 0))[1] or 0
        part = graph.onnx.NodeProto()
        part.CopyFrom(node)
        label = graph.unused(f"{node.name}/part")
        share = np.ascontiguousarray(weights[:, start : start + count])
        del part.input[:]
        part.input.extend([name, graph.add_constant(f"{label}/weight", share)])
        part.input.extend(node.input[2:] if at == 0 else [])
        part.output[0], part.name = graph.unused(f"{label}:0"), label
        parts.append(part)
        start += count
        if total:
            last = at == len(joined.input) - 1
            sum_name = node.output[0] if last else graph.unused(f"{label}/sum")
            parts.append(
                graph.onnx.helper.make_node(
                    "Add",
                    [total, part.output[0]],
                    [sum_name],
                    node.name if last else graph.unused(f"{label}/add"),
                )
            )
            total = sum_name
        else:
            total = part.output[0]
    return parts
