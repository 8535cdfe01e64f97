"""A float32 graph that rounds where a float16 graph does.

ONNX Runtime's CPU computes most float16 layers in float32 and leaves roundings between them out.
This twin has them all, after every layer, so what it loses is what a GPU can lose at most.
"""

from __future__ import annotations

from pathlib import Path

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
    types = graph.onnx.TensorProto
    nodes = []
    for node in graph.nodes:
        if any(name in half.tensors for name in node.output):
            for port, name in enumerate(node.input):
                value = graph.constant(name)
                if value is not None and value.dtype == np.float32:
                    with np.errstate(under="ignore"):
                        rounded = value.astype(np.float16).astype(np.float32)
                    node.input[port] = graph.add_constant(f"{name}/rounded", rounded)
        nodes.append(node)
        for port, name in enumerate(node.output):
            if name not in half.tensors:
                continue
            exact, rounded_name = graph.unused(f"{name}/exact"), graph.unused(f"{name}/float16")
            node.output[port] = exact
            for source, target, kind in (
                (exact, rounded_name, types.FLOAT16),
                (rounded_name, name, types.FLOAT),
            ):
                cast = graph.onnx.helper.make_node("Cast", [source], [target], to=kind)
                cast.name = graph.unused(f"{target}/cast")
                nodes.append(cast)
    del graph.model.graph.value_info[:]
    graph.set_nodes(nodes)
    return graph.serialize(what=f"The float16 twin of {path}")
