"""Rules of `capture` for torch functions that move or reduce axes. The batch stays open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bas_edge.errors import InputError

__all__ = ["SHAPE_RULES", "GraphWriter"]


class GraphWriter(Protocol):
    """What rules write to: `capture`'s recorder."""

    def value(self, tensor: Any) -> str:
        """The graph's name of a tensor or number."""
        ...

    def constant(self, label: str, array: NDArray[Any]) -> str:
        """The name of a new constant."""
        ...

    def node(self, op: str, inputs: Sequence[str], *, name: str = "", **attributes: Any) -> str:
        """Append one node; the name of its output."""
        ...


def _mean(graph: GraphWriter, x: Tensor, dim: Any = None, keepdim: bool = False) -> str:
    axes = _axes(dim)
    if keepdim and x.dim() == 4 and {axis % 4 for axis in axes} == {2, 3}:
        return graph.node("GlobalAveragePool", [graph.value(x)])
    return graph.node("ReduceMean", [graph.value(x)], axes=axes, keepdims=int(keepdim))


def _amax(graph: GraphWriter, x: Tensor, dim: Any, keepdim: bool = False) -> str:
    return graph.node("ReduceMax", [graph.value(x)], axes=_axes(dim), keepdims=int(keepdim))


def _flatten(graph: GraphWriter, x: Tensor, start_dim: int = 0, end_dim: int = -1) -> str:
    if start_dim < 1 or end_dim % x.dim() != x.dim() - 1:
        raise InputError("The export can flatten the last axes, and never the batch.")
    if start_dim == 1:
        return graph.node("Flatten", [graph.value(x)], axis=1)
    return _reshape(graph, x, -1, *x.shape[1:start_dim], x.shape[start_dim:].numel())


def _reshape(graph: GraphWriter, x: Tensor, *shape: Any) -> str:
    sizes = [*shape[0]] if isinstance(shape[0], (list, tuple)) else [*shape]
    if sizes[0] != -1:
        raise InputError("The export reshapes with -1 for the batch, which it leaves open.")
    target = graph.constant("shape", np.array(sizes, np.int64))
    return graph.node("Reshape", [graph.value(x), target])


def _transpose(graph: GraphWriter, x: Tensor, dim0: int, dim1: int) -> str:
    order = list(range(x.dim()))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return graph.node("Transpose", [graph.value(x)], perm=order)


def _permute(graph: GraphWriter, x: Tensor, *dims: Any) -> str:
    order = dims[0] if isinstance(dims[0], (list, tuple)) else dims
    return graph.node("Transpose", [graph.value(x)], perm=list(order))


def _axes(dim: Any) -> list[int]:
    return [dim] if isinstance(dim, int) else list(dim)


SHAPE_RULES: Mapping[Any, Callable[..., str]] = {
    Tensor.mean: _mean,
    Tensor.amax: _amax,
    Tensor.transpose: _transpose,
    Tensor.reshape: _reshape,
    Tensor.flatten: _flatten,
    Tensor.permute: _permute,
}
