"""A float32 graph that rounds where a float16 graph does.

ONNX Runtime's CPU computes most float16 layers in float32 and leaves roundings between them out.
This twin has them all, after every layer and before the first ones, so what it loses is what a
GPU can lose at most.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.engine.precision import HalfGraph

__all__ = ["half_twin"]


def half_twin(path: Path, half: HalfGraph) -> bytes:
    """The twin of `half`, which was made from the float32 graph in `path`.

    Raises:
        MissingExtraError, EngineError: See `OnnxGraph.read`.
    """
    graph = OnnxGraph.read(path)
    nodes: list[Any] = []
    rounded: dict[str, str] = {}  # what half nodes read in place of a float32 tensor
    for node in graph.nodes:
        for port, name in enumerate(node.input):
            if node.name not in half.readers.get(name, ()) or name in half.tensors:
                continue
            if name not in rounded:
                rounded[name] = _rounded(graph, name, nodes)
            node.input[port] = rounded[name]
        nodes.append(node)
        for port, name in enumerate(node.output):
            if name in half.tensors:
                node.output[port] = graph.unused(f"{name}/exact")
                nodes += _casts(graph, node.output[port], name)
    del graph.model.graph.value_info[:]
    graph.set_nodes(nodes)
    return graph.serialize(what=f"The float16 twin of {path}")


def _rounded(graph: OnnxGraph, name: str, into: list[Any]) -> str:
    """The name of a constant or a float32 tensor after it was rounded to float16."""
    value = graph.constant(name)
    if value is None:
        target = graph.unused(f"{name}/rounded")
        into += _casts(graph, name, target)
        return target
    with np.errstate(under="ignore"):
        return graph.add_constant(f"{name}/rounded", value.astype(np.float16).astype(np.float32))


def _casts(graph: OnnxGraph, source: str, target: str) -> list[Any]:
    """To float16 and back."""
    types, half = graph.onnx.TensorProto, graph.unused(f"{target}/float16")
    casts = []
    for before, after, kind in ((source, half, types.FLOAT16), (half, target, types.FLOAT)):
        cast = graph.onnx.helper.make_node("Cast", [before], [after], to=kind)
        cast.name = graph.unused(f"{after}/cast")
        casts.append(cast)
    return casts
