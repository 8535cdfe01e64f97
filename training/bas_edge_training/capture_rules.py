"""ONNX forms of torch functions that networks of other libraries use, beside those of capture.py.

A rule takes the recorder and torch's own arguments, writes nodes of opset 17, and returns the name
of the result, or a list of names where torch returns several tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bas_edge.errors import InputError
from bas_edge_training.capture_shapes import SHAPES, Rule, reshaped

if TYPE_CHECKING:
    from bas_edge_training.capture import Recorder

__all__ = ["FUNCTIONS", "Rule"]


# Activations


def _unary(op: str, **attributes: Any) -> Rule:
    def rule(graph: Recorder, x: Tensor, *_: Any, **__: Any) -> str:
        return graph.node(op, [graph.value(x)], **attributes)

    return rule


def _silu(graph: Recorder, x: Tensor, *_: Any, **__: Any) -> str:
    name = graph.value(x)
    return graph.node("Mul", [name, graph.node("Sigmoid", [name])])


def _gelu(graph: Recorder, x: Tensor, *, approximate: str = "none") -> str:
    """As x * (1 + erf(x / sqrt 2)) / 2, as runtimes know it; opset 17 has no Gelu."""
    name = graph.value(x)
    if approximate == "tanh":
        cube = graph.node("Mul", [name, graph.node("Mul", [name, name])])
        inner = graph.node("Add", [name, graph.node("Mul", [cube, graph.scalar(0.044715)])])
        scaled = graph.node("Mul", [inner, graph.scalar(math.sqrt(2 / math.pi))])
        share = graph.node("Tanh", [scaled])
    else:
        share = graph.node("Erf", [graph.node("Div", [name, graph.scalar(math.sqrt(2))])])
    both = graph.node("Mul", [name, graph.node("Add", [share, graph.scalar(1)])])
    return graph.node("Mul", [both, graph.scalar(0.5)])


def _mish(graph: Recorder, x: Tensor, *_: Any, **__: Any) -> str:
    name = graph.value(x)
    soft = graph.node("Softplus", [name])
    return graph.node("Mul", [name, graph.node("Tanh", [soft])])


def _softplus(graph: Recorder, x: Tensor, beta: float = 1, _threshold: float = 20) -> str:
    if beta != 1:
        raise InputError(f"The export knows softplus of beta 1, not {beta:g}.")
    return graph.node("Softplus", [graph.value(x)])


def _leaky_relu(
    graph: Recorder, x: Tensor, negative_slope: float = 0.01, *_: Any, **__: Any
) -> str:
    return graph.node("LeakyRelu", [graph.value(x)], alpha=float(negative_slope))


def _elu(graph: Recorder, x: Tensor, alpha: float = 1.0, *_: Any, **__: Any) -> str:
    return graph.node("Elu", [graph.value(x)], alpha=float(alpha))


def _prelu(graph: Recorder, x: Tensor, weight: Tensor) -> str:
    slope = weight.detach().cpu().numpy().reshape(-1, *[1] * (x.dim() - 2))
    return graph.node("PRelu", [graph.value(x), graph.constant("slope", slope)])


def _clip(graph: Recorder, x: Tensor, low: Any = None, high: Any = None, **named: Any) -> str:
    """Of clamp and hardtanh; a bound that is not given is ""."""
    low = named.get("min", named.get("min_val", low))
    high = named.get("max", named.get("max_val", high))
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        raise InputError("The export knows no clamp between tensors.")
    bounds = ["" if bound is None else graph.scalar(bound) for bound in (low, high)]
    return graph.node("Clip", [graph.value(x), *bounds])


def _hardtanh(
    graph: Recorder, x: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> str:
    del inplace
    return _clip(graph, x, min_val, max_val)


def _softmax(graph: Recorder, x: Tensor, dim: int | None = None, *_: Any, **options: Any) -> str:
    if dim is None or options.get("dtype") is not None:
        raise InputError("The export knows softmax only along a named axis, in its own type.")
    return graph.node("Softmax", [graph.value(x)], axis=dim)


# Layers


def _linear(graph: Recorder, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> str:
    """MatMul and Add, whatever the shape of x is."""
    layer = graph.layer(weight)
    matrix = graph.constant("weight", weight.detach().cpu().numpy().T)
    product = graph.node("MatMul", [graph.value(x), matrix], name=layer)
    return product if bias is None else graph.node("Add", [product, graph.value(bias)])


def _layer_norm(
    graph: Recorder, x: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
    bias: Tensor | None = None, eps: float = 1e-5,
) -> str:  # fmt: skip
    shape = tuple(normalized_shape)
    scale = graph.value(torch.ones(shape) if weight is None else weight)
    inputs = [graph.value(x), scale, *([] if bias is None else [graph.value(bias)])]
    name = "" if weight is None else graph.layer(weight)
    return graph.node("LayerNormalization", inputs, name=name, axis=-len(shape), epsilon=float(eps))


def _group_norm(
    graph: Recorder, x: Tensor, num_groups: int, weight: Tensor | None = None,
    bias: Tensor | None = None, eps: float = 1e-5,
) -> str:  # fmt: skip
    """In single steps: runtimes' own norms subtract squares, and lose digits on large means."""
    channels, rest = x.shape[1], [1] * (x.dim() - 2)
    groups = reshaped(graph, graph.value(x), [0, num_groups, -1])
    centred = graph.node("Sub", [groups, graph.node("ReduceMean", [groups], axes=[-1])])
    squares = graph.node("Mul", [centred, centred])
    variance = graph.node("ReduceMean", [squares], axes=[-1])
    deviation = graph.node("Sqrt", [graph.node("Add", [variance, graph.scalar(eps)])])
    name = graph.node("Div", [centred, deviation])
    name = reshaped(graph, name, [0, channels, *x.shape[2:]])
    for op, values in (("Mul", weight), ("Add", bias)):
        if values is not None:
            array = values.detach().cpu().numpy().reshape(1, channels, *rest)
            name = graph.node(op, [name, graph.constant("per_channel", array)])
    return name


def _adaptive_avg_pool2d(graph: Recorder, x: Tensor, output_size: Any) -> str:
    height, width = x.shape[-2:]
    asked = output_size if isinstance(output_size, (list, tuple)) else (output_size, output_size)
    rows, columns = (
        side if want is None else want for side, want in zip((height, width), asked, strict=True)
    )
    if (rows, columns) == (1, 1):
        return graph.node("GlobalAveragePool", [graph.value(x)])
    if height % rows or width % columns:
        raise InputError(
            f"The export cannot pool {height}x{width} cells to {rows}x{columns}: windows differ."
        )
    window = [height // rows, width // columns]
    return graph.node("AveragePool", [graph.value(x)], kernel_shape=window, strides=window)


def _interpolate(
    graph: Recorder, x: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> str:  # fmt: skip
    kinds = {"nearest": ("nearest", "asymmetric")}
    kinds["bilinear"] = ("linear", "align_corners" if align_corners else "half_pixel")
    if mode not in kinds or x.dim() != 4 or antialias or recompute_scale_factor:
        smooth = ", antialiased" if antialias else ""
        raise InputError(f"The export knows no interpolation of the kind '{mode}'{smooth}.")
    kind, places = kinds[mode]
    sides = np.asarray(x.shape[2:])
    wanted = np.floor(sides * np.broadcast_to(scale_factor, 2)) if size is None else size
    factors = (np.broadcast_to(wanted, 2) / sides).astype(np.float32)
    short = factors.astype(np.float64) * sides < wanted  # runtimes round down, some in float64
    factors[short] = np.nextafter(factors[short], np.float32(np.inf))
    scales = graph.constant("scales", np.array([1, 1, *factors], np.float32))
    options = {"coordinate_transformation_mode": places, "nearest_mode": "floor"}
    return graph.node("Resize", [graph.value(x), "", scales], mode=kind, **options)


# Arithmetic


def _elementwise(op: str) -> Rule:
    def rule(graph: Recorder, x: Any, y: Any, *, alpha: float = 1, **_: Any) -> str:
        other = graph.value(y)
        if alpha != 1:
            other = graph.node("Mul", [other, graph.scalar(alpha)])
        return graph.node(op, [graph.value(x), other])

    return rule


def _reversed(op: str) -> Rule:
    def rule(graph: Recorder, x: Any, y: Any) -> str:
        return graph.node(op, [graph.value(y), graph.value(x)])

    return rule


def _addcmul(graph: Recorder, x: Tensor, one: Tensor, two: Tensor, *, value: float = 1) -> str:
    product = graph.node("Mul", [graph.value(one), graph.value(two)])
    if value != 1:
        product = graph.node("Mul", [product, graph.scalar(value)])
    return graph.node("Add", [graph.value(x), product])


def _attention(
    graph: Recorder, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None, **_: Any,
) -> str:  # fmt: skip
    """Softmax(query key^T / sqrt(width)) value, of [N, heads, length, width]."""
    if attn_mask is not None or dropout_p or is_causal or query.dim() != 4:
        raise InputError("The export knows attention of whole sequences only, without a mask.")
    turned = graph.node("Transpose", [graph.value(key)], perm=[0, 1, 3, 2])
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = graph.node("MatMul", [graph.value(query), turned])
    shares = graph.node("Mul", [scores, graph.scalar(factor)])
    return graph.node("MatMul", [graph.node("Softmax", [shares], axis=-1), graph.value(value)])


def _sum(graph: Recorder, x: Tensor, dim: Any = None, keepdim: bool = False, **_: Any) -> str:
    if dim is None:
        raise InputError("The export knows no sum over everything, the batch among it.")
    axes = graph.constant("axes", np.array(_axes(dim), np.int64))
    return graph.node("ReduceSum", [graph.value(x), axes], keepdims=int(keepdim))


def _amax(graph: Recorder, x: Tensor, dim: Any, keepdim: bool = False) -> str:
    return graph.node("ReduceMax", [graph.value(x)], axes=_axes(dim), keepdims=int(keepdim))


def _norm(
    graph: Recorder, x: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, **_: Any
) -> str:
    if p != 2 or dim is None:
        raise InputError("The export knows norms of p = 2 only, along named axes.")
    return graph.node("ReduceL2", [graph.value(x)], axes=_axes(dim), keepdims=int(keepdim))


def _normalize(
    graph: Recorder, x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, **_: Any
) -> str:
    length = graph.node("Clip", [_norm(graph, x, p, dim, True), graph.scalar(eps)])
    return graph.node("Div", [graph.value(x), length])


def _axes(dim: Any) -> list[int]:
    return list(dim) if isinstance(dim, (list, tuple)) else [int(dim)]


FUNCTIONS: dict[Any, Rule] = {
    **SHAPES,
    F.relu: _unary("Relu"),
    torch.relu: _unary("Relu"),
    torch.sigmoid: _unary("Sigmoid"),
    Tensor.add: _elementwise("Add"),
    Tensor.__add__: _elementwise("Add"),
    Tensor.sub: _elementwise("Sub"),
    Tensor.__sub__: _elementwise("Sub"),
    Tensor.mul: _elementwise("Mul"),
    Tensor.__mul__: _elementwise("Mul"),
    Tensor.div: _elementwise("Div"),
    Tensor.__truediv__: _elementwise("Div"),
    F.silu: _silu,
    F.mish: _mish,
    F.gelu: _gelu,
    F.hardswish: _unary("HardSwish"),
    F.hardsigmoid: _unary("HardSigmoid", alpha=1 / 6, beta=0.5),
    F.sigmoid: _unary("Sigmoid"),
    F.leaky_relu: _leaky_relu,
    F.elu: _elu,
    F.prelu: _prelu,
    F.hardtanh: _hardtanh,
    F.softplus: _softplus,
    F.softmax: _softmax,
    F.tanh: _unary("Tanh"),
    F.linear: _linear,
    F.normalize: _normalize,
    F.scaled_dot_product_attention: _attention,
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.adaptive_avg_pool2d: _adaptive_avg_pool2d,
    F.interpolate: _interpolate,
    torch.tanh: _unary("Tanh"),
    torch.prelu: _prelu,
    torch.clamp: _clip,
    torch.softmax: _softmax,
    torch.sqrt: _unary("Sqrt"),
    torch.exp: _unary("Exp"),
    torch.addcmul: _addcmul,
    torch.add: _elementwise("Add"),
    torch.sub: _elementwise("Sub"),
    torch.mul: _elementwise("Mul"),
    torch.div: _elementwise("Div"),
    torch.matmul: _elementwise("MatMul"),
    torch.bmm: _elementwise("MatMul"),
    torch.pow: _elementwise("Pow"),
    torch.sign: _unary("Sign"),
    torch.sum: _sum,
    torch.relu_: _unary("Relu"),
    Tensor.relu_: _unary("Relu"),
    Tensor.relu: _unary("Relu"),
    Tensor.sigmoid: _unary("Sigmoid"),
    Tensor.sigmoid_: _unary("Sigmoid"),
    Tensor.tanh: _unary("Tanh"),
    Tensor.exp: _unary("Exp"),
    Tensor.sqrt: _unary("Sqrt"),
    Tensor.clamp: _clip,
    Tensor.clamp_: _clip,
    Tensor.softmax: _softmax,
    Tensor.sum: _sum,
    Tensor.pow: _elementwise("Pow"),
    Tensor.__pow__: _elementwise("Pow"),
    Tensor.abs: _unary("Abs"),
    Tensor.amax: _amax,
    Tensor.norm: _norm,
    Tensor.add_: _elementwise("Add"),
    Tensor.__iadd__: _elementwise("Add"),
    Tensor.__radd__: _reversed("Add"),
    Tensor.sub_: _elementwise("Sub"),
    Tensor.__isub__: _elementwise("Sub"),
    Tensor.__rsub__: _reversed("Sub"),
    Tensor.mul_: _elementwise("Mul"),
    Tensor.__imul__: _elementwise("Mul"),
    Tensor.__rmul__: _reversed("Mul"),
    Tensor.div_: _elementwise("Div"),
    Tensor.__itruediv__: _elementwise("Div"),
    Tensor.__matmul__: _elementwise("MatMul"),
    Tensor.__neg__: _unary("Neg"),
    Tensor.matmul: _elementwise("MatMul"),
}
