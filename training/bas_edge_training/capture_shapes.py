"""ONNX forms of torch functions that change a shape and no value. See capture_rules.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bas_edge.errors import InputError

if TYPE_CHECKING:
    from bas_edge_training.capture import Recorder

__all__ = ["SHAPES", "Rule", "reshaped"]

Rule = Callable[..., "str | list[str]"]


def _reshape(graph: Recorder, x: Tensor, *shape: Any) -> str:
    """The batch has to stay where it is; every other side is a number."""
    sides = list(shape[0]) if isinstance(shape[0], (list, tuple, torch.Size)) else list(shape)
    target = list(x.reshape(sides).shape)
    if target[0] != x.shape[0]:
        raise InputError(
            f"The export can reshape everything but the batch, not {list(x.shape)} to {target}."
        )
    return reshaped(graph, graph.value(x), [0, *target[1:]])


def _flatten(graph: Recorder, x: Tensor, start_dim: int = 0, end_dim: int = -1) -> str:
    if start_dim == 1 and end_dim % x.dim() == x.dim() - 1:
        return graph.node("Flatten", [graph.value(x)], axis=1)
    return _reshape(graph, x, list(x.flatten(start_dim, end_dim).shape))


def _unsqueeze(graph: Recorder, x: Tensor, dim: int) -> str:
    return _reshape(graph, x, list(x.unsqueeze(dim).shape))


def _squeeze(graph: Recorder, x: Tensor, *dims: Any) -> str:
    return _reshape(graph, x, list(x.squeeze(*dims).shape))


def _transpose(graph: Recorder, x: Tensor, one: int, two: int) -> str:
    order = list(range(x.dim()))
    order[one], order[two] = order[two], order[one]
    return graph.node("Transpose", [graph.value(x)], perm=order)


def _expand(graph: Recorder, x: Tensor, *shape: Any) -> str:
    sides = list(shape[0]) if isinstance(shape[0], (list, tuple, torch.Size)) else list(shape)
    target = list(x.expand(sides).shape)
    if len(target) != x.dim():
        raise InputError("The export knows no expansion to more axes.")
    sizes = np.array([1, *target[1:]], np.int64)  # 1: as many as there are
    return graph.node("Expand", [graph.value(x), graph.constant("shape", sizes)])


def _split(graph: Recorder, x: Tensor, split_size: Any, dim: int = 0) -> list[str]:
    return _parts(graph, x, [part.shape[dim] for part in torch.split(x, split_size, dim)], dim)


def _chunk(graph: Recorder, x: Tensor, chunks: int, dim: int = 0) -> list[str]:
    return _parts(graph, x, [part.shape[dim] for part in x.chunk(chunks, dim)], dim)


def _stack(graph: Recorder, tensors: Sequence[Tensor], dim: int = 0) -> str:
    dim %= tensors[0].dim() + 1
    axis = graph.constant("axis", np.array([dim], np.int64))
    parts = [graph.node("Unsqueeze", [graph.value(x), axis]) for x in tensors]
    return graph.node("Concat", parts, axis=dim)


def _unbind(graph: Recorder, x: Tensor, dim: int = 0) -> list[str]:
    axis = graph.constant("axis", np.array([dim], np.int64))
    return [
        graph.node("Squeeze", [part, axis]) for part in _parts(graph, x, [1] * x.shape[dim], dim)
    ]


def _parts(graph: Recorder, x: Tensor, sizes: Sequence[int], dim: int) -> list[str]:
    ends = np.cumsum(sizes)
    return [
        _sliced(graph, graph.value(x), end - size, end, dim % x.dim())
        for size, end in zip(sizes, ends, strict=True)
    ]


def _getitem(graph: Recorder, x: Tensor, index: Any) -> str:
    """Slices of step 1, whole numbers, and None; the batch stays whole."""
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [item for item in items if not isinstance(item, Tensor)]:
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        named = sum(item is not None for item in items) - 1
        items[at : at + 1] = [slice(None)] * (x.dim() - named)
    name, axis = graph.value(x), 0
    for item in items:
        if item is None:
            continue
        if not isinstance(item, (slice, int)) or (axis == 0 and item != slice(None)):
            raise InputError(f"The export does not know the index {index}.")
        start, end, step = slice(item, item + 1 or None).indices(x.shape[axis]) if isinstance(
            item, int
        ) else item.indices(x.shape[axis])  # fmt: skip
        if (start, end, step) != (0, x.shape[axis], 1):
            name = _sliced(graph, name, start, end, axis, step)
        axis += 1
    result = x[index]
    changed = any(item is None or isinstance(item, int) for item in items)
    return reshaped(graph, name, [0, *result.shape[1:]]) if changed else name


def _identity(graph: Recorder, x: Tensor, *args: Any, **options: Any) -> str:
    training = options.get("training", args[1] if len(args) > 1 else False)
    if training is True:
        raise ValueError("the module is in training mode: call eval() before capture()")
    return graph.value(x)


def _same(graph: Recorder, x: Tensor, *_: Any, **__: Any) -> str:
    return graph.value(x)


def _to(graph: Recorder, x: Tensor, *args: Any, **options: Any) -> str:
    if x.to(*args, **options).dtype != x.dtype:
        raise InputError("The export knows no change of type but to float32.")
    return graph.value(x)


def _sliced(graph: Recorder, name: str, start: int, end: int, axis: int, step: int = 1) -> str:
    bounds = (("starts", start), ("ends", end), ("axes", axis), ("steps", step))
    limits = [graph.constant(label, np.array([v], np.int64)) for label, v in bounds]
    return graph.node("Slice", [name, *limits])


def reshaped(graph: Recorder, name: str, shape: Sequence[int]) -> str:
    return graph.node("Reshape", [name, graph.constant("shape", np.array(shape, np.int64))])


SHAPES: dict[Any, Rule] = {
    Tensor.flatten: _flatten,
    F.dropout: _identity,
    torch.flatten: _flatten,
    torch.reshape: _reshape,
    torch.transpose: _transpose,
    torch.unsqueeze: _unsqueeze,
    torch.chunk: _chunk,
    torch.split: _split,
    Tensor.view: _reshape,
    Tensor.reshape: _reshape,
    Tensor.unsqueeze: _unsqueeze,
    Tensor.squeeze: _squeeze,
    Tensor.transpose: _transpose,
    Tensor.expand: _expand,
    Tensor.expand_as: lambda graph, x, other: _expand(graph, x, list(other.shape)),
    Tensor.chunk: _chunk,
    Tensor.split: _split,
    torch.stack: _stack,
    Tensor.unbind: _unbind,
    torch.unbind: _unbind,
    Tensor.__getitem__: _getitem,
    Tensor.contiguous: _same,
    Tensor.to: _to,
    Tensor.type_as: lambda graph, x, other: _to(graph, x, other.dtype),
}
