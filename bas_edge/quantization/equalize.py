"""Bring the channels of a tensor to one range before eight bits have to cover them all.

A channel that reaches 6 beside one that reaches 0.1 leaves that one four codes of 255. Scaling a
channel by s in the layer that computes it and by 1 / s in the layers that read it changes nothing
in float, as long as nothing but activations that commute with it lie between. Relu does; Clip does
not, whose end a channel may reach on frames that calibration has not seen, so tensors before it
stay as they are. Only what reaches far beyond the median channel is scaled, and only down to
there: the other channels keep their codes, with room above what calibration saw of them. A
depthwise reader has a scale per channel anyway, so its side costs nothing; a dense one shares its
codes between channels, so there the exponent `_DENSE` decides who pays (M. Nagel et al., "Data-
free quantization through weight equalization and bias correction", 2019; G. Xiao et al.,
"SmoothQuant", 2023).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.quantization.layers import Layer
from bas_edge.quantization.report import EqualizedTensor

__all__ = ["equalize"]

_DENSE = 0.5
_WORTH = 2.0  # a channel that reaches less far beyond the median one is left alone
_SMALLER = 0.9  # of the spread before; what shrinks less is not worth another calibration
_LEAST = 2.0**-16  # what a channel is scaled by at most: beyond, float32 itself may end
_CHANNELWISE = {"AveragePool", "MaxPool", "GlobalAveragePool", "Concat", "Pad", "Relu", "Slice"}


@dataclass(frozen=True, slots=True)
class _Reader:
    """A layer with weights that reads channels `start` to `start + count` of its input."""

    node: Any
    start: int
    depthwise: bool


def equalize(
    graph: OnnxGraph, layers: Sequence[Layer], largest: Mapping[str, NDArray[np.float64]]
) -> tuple[EqualizedTensor, ...]:
    """Rescale channels between layers of a float32 graph, in place.

    Args:
        graph: An exported graph.
        layers: The layers that are to be quantized.
        largest: For each tensor that they compute, the largest magnitude of each channel [C].

    Returns:
        What was rescaled, the widest spread first.
    """
    done = []
    for layer in layers:
        if layer.operator != "Conv" or layer.result not in largest:
            continue
        readers = _readers(graph, layer.result)
        reach = largest[layer.result]
        if _clips(graph, layer) or not readers or layer.result in graph.outputs:
            continue
        scales = _scales(graph, readers, reach)
        if _spread(reach * scales) > _SMALLER * _spread(reach):
            continue
        _scale_outputs(graph, graph.node(layer.node), scales)
        for reader in readers:
            _scale_inputs(graph, reader, 1.0 / scales)
        done.append(
            EqualizedTensor(
                name=layer.result,
                producer=layer.node,
                consumers=tuple(reader.node.name for reader in readers),
                spread_before=_spread(reach),
                spread_after=_spread(reach * scales),
            )
        )
    return tuple(sorted(done, key=lambda one: -one.spread_before))


def _readers(graph: OnnxGraph, tensor: str, start: int = 0) -> list[_Reader] | None:
    """The layers whose weights can take the scales of a tensor; None where something cannot."""
    found: list[_Reader] = []
    for node in graph.consumers(tensor):
        if (
            node.op_type == "Conv"
            and node.input[0] == tensor
            and len(graph.activation_inputs(node)) == 1
        ):
            groups = int(graph.attribute(node, "group", 1))
            outputs, per_group = graph.weights(node).shape[:2]
            if groups != 1 and not (per_group == 1 and groups == outputs):
                return None
            found.append(_Reader(node, start, groups != 1))
        elif node.op_type in _CHANNELWISE and _keeps_channels(graph, node):
            if node.output[0] in graph.outputs:
                return None
            offset = _offset(graph, node, tensor)
            behind = None if offset is None else _readers(graph, node.output[0], start + offset)
            if behind is None:
                return None
            found += behind
        else:
            return None
    return found


def _keeps_channels(graph: OnnxGraph, node: Any) -> bool:
    """Whether a node treats each channel alone and scales with its input."""
    if node.op_type == "Concat":
        return bool(graph.attribute(node, "axis") == 1)
    if node.op_type == "Pad":
        return _pads_with_zeros(graph, node)
    if node.op_type == "Slice":
        axes = graph.constant(node.input[3]) if len(node.input) > 3 else None
        shape = graph.shape(node.input[0])
        if axes is None or shape is None:
            return False
        return not np.isin(axes % len(shape), (0, 1)).any()
    return True


def _pads_with_zeros(graph: OnnxGraph, node: Any) -> bool:
    """Whether a Pad adds zeros, or what is there already, and no channels."""
    pads = graph.constant(node.input[1]) if len(node.input) > 1 else None
    if pads is None or len(node.input) > 3:
        return False
    if pads.reshape(2, -1)[:, :2].any():
        return False
    if len(node.input) < 3 or not node.input[2]:
        return True
    value = graph.constant(node.input[2])
    return value is not None and not value.any()


def _offset(graph: OnnxGraph, node: Any, tensor: str) -> int | None:
    """Which channel of a node's output the first one of `tensor` becomes."""
    if node.op_type != "Concat":
        return 0
    if list(node.input).count(tensor) != 1:
        return None
    before = 0
    for name in node.input:
        if name == tensor:
            return before
        shape = graph.shape(name)
        channels = shape[1] if shape is not None and len(shape) > 1 else None
        if channels is None:
            return None
        before += channels
    return None


def _scales(
    graph: OnnxGraph, readers: Sequence[_Reader], reach: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[C]: what each channel is multiplied by, at most 1."""
    live = reach > 0
    if not live.any():
        return np.ones(len(reach))
    target = _WORTH * float(np.median(reach[live]))
    scales = np.where(reach > target, target / np.where(live, reach, 1.0), 1.0)
    dense = [reader for reader in readers if not reader.depthwise]
    if dense:
        count = len(reach)
        columns = np.zeros(count)
        for reader in dense:
            weights = np.abs(graph.weights(reader.node)).astype(np.float64)
            by_input = weights.max(axis=(0, *range(2, weights.ndim)))
            np.maximum(columns, by_input[reader.start : reader.start + count], out=columns)
        # Balanced: what a channel adds to the rounding of values equals what it adds to weights'.
        usable = live & (columns > 0)
        wanted = np.zeros(count)
        wanted[usable] = columns[usable] ** _DENSE / reach[usable] ** (1.0 - _DENSE)
        if usable.any():
            wanted /= np.median(wanted[usable])
        scales = np.maximum(scales, np.minimum(wanted, 1.0))
    bounded: NDArray[np.float64] = np.maximum(scales, _LEAST)
    return bounded


def _clips(graph: OnnxGraph, layer: Layer) -> bool:
    """Whether the layer's activation ends anywhere but at 0 from below, or may do so."""
    activation = graph.node(layer.activation) if layer.activation else None
    if activation is None or activation.op_type != "Clip":
        return False
    if activation.attribute:  # before opset 11
        return True
    ends = []
    for port, absent in ((1, -np.inf), (2, np.inf)):
        given = port < len(activation.input) and activation.input[port]
        value = graph.constant(given) if given else np.float32(absent)
        if value is None:
            return True
        ends.append(float(value))
    return ends[0] not in (0.0, -np.inf) or ends[1] != np.inf


def _scale_outputs(graph: OnnxGraph, node: Any, scales: NDArray[np.float64]) -> None:
    for port in (1, 2):
        if port < len(node.input) and node.input[port]:
            name = graph.own_constant(node, port)
            values = graph.weights(node, port)
            shape = (-1, *[1] * (values.ndim - 1))
            graph.set_constant(name, (values * scales.reshape(shape)).astype(np.float32))


def _scale_inputs(graph: OnnxGraph, reader: _Reader, scales: NDArray[np.float64]) -> None:
    name = graph.own_constant(reader.node, 1)
    values = graph.weights(reader.node)
    axis = 0 if reader.depthwise else 1
    factors = np.ones(values.shape[axis])
    factors[reader.start : reader.start + len(scales)] = scales
    shape = [1] * values.ndim
    shape[axis] = -1
    graph.set_constant(name, (values * factors.reshape(shape)).astype(np.float32))


def _spread(reach: NDArray[np.float64]) -> float:
    """The largest range of a channel over the median one of those that are ever used."""
    used = reach[reach > 0]
    return float(used.max() / np.median(used)) if used.size else 1.0
