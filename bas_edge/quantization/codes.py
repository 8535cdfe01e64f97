"""Eight-bit codes of tensors and of weights: value = scale * (code - zero)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.quantization.ranges import Range

__all__ = ["Codes", "Flavour", "PixelChain", "WeightCodes", "pixel_chain", "weight_codes"]

Flavour = Literal["onnxruntime", "tensorrt"]
_LEAST_SCALE = np.float32(2.0**-63)  # so that the product of two is a normal float32
_CHANNELWISE = {"Cast", "Transpose", "Slice"}


@dataclass(frozen=True, slots=True)
class Codes:
    """How a tensor is quantized.

    Attributes:
        scale: Of one code, in float32.
        zero: The code of 0: always 0 for TensorRT, whose codes are int8; else 0 to 255.
    """

    scale: np.float32
    zero: int = 0

    @classmethod
    def covering(cls, bounds: Range, flavour: Flavour) -> Codes:
        """The codes whose ends are the ends of a range that contains 0."""
        low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
        if low == high:
            return cls(np.float32(1.0))
        if flavour == "tensorrt":
            return cls(max(np.float32(max(-low, high) / 127.0), _LEAST_SCALE))
        scale = max(np.float32((high - low) / 255.0), _LEAST_SCALE)
        return cls(scale, int(np.clip(np.rint(-low / scale), 0, 255)))

    def highest(self, flavour: Flavour) -> float:
        """The largest value that has a code."""
        return float(self.scale) * (127 if flavour == "tensorrt" else 255 - self.zero)


@dataclass(frozen=True, slots=True)
class WeightCodes:
    """Quantized weights.

    Attributes:
        values: int8, in the shape of the weights, -127 to 127.
        scales: float32 [O], one per output channel.
        axis: Of the output channels.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    axis: int

    @property
    def dequantized(self) -> NDArray[np.float32]:
        """What the codes stand for, in the shape of the weights."""
        shape = [1] * self.values.ndim
        shape[self.axis] = -1
        restored: NDArray[np.float32] = self.values * self.scales.reshape(shape)
        return restored


def weight_codes(
    weights: NDArray[np.float32],
    axis: int,
    *,
    largest_code: int = 127,
    least_scale: NDArray[np.float64] | float = 0.0,
) -> WeightCodes:
    """Symmetric codes, one scale per output channel, that reach its largest weight.

    Args:
        weights: Any shape; `axis` counts output channels.
        axis: See above.
        largest_code: 127, or 64 where products of unsigned and signed codes are summed in pairs
            of 16 bits (x86 without VNNI), which 127 could overflow.
        least_scale: [O] or one for all; scales are at least this.
    """
    others = tuple(at for at in range(weights.ndim) if at != axis)
    reach = np.abs(weights).max(axis=others).astype(np.float64)
    scales = np.maximum(reach / largest_code, least_scale)
    scales = np.where(scales > 0, np.maximum(scales, _LEAST_SCALE), 1.0).astype(np.float32)
    shape = [1] * weights.ndim
    shape[axis] = -1
    codes = np.clip(np.rint(weights / scales.reshape(shape)), -largest_code, largest_code)
    return WeightCodes(codes.astype(np.int8), scales, axis)


@dataclass(frozen=True, slots=True)
class PixelChain:
    """The nodes that turn pixels into the first layer's input, where all channels do the same:
    value = (pixel - mean) * scale.

    Attributes:
        nodes: Their names, in order.
        mean, scale: See above.
    """

    nodes: tuple[str, ...]
    mean: float
    scale: float

    def codes(self, flavour: Flavour) -> Codes | None:
        """Codes that are the pixels themselves, or the pixels - 128; None where there are none."""
        if self.scale <= 0 or self.mean != int(self.mean) or not 0 <= self.mean <= 255:
            return None
        if flavour == "tensorrt":
            return Codes(np.float32(self.scale)) if self.mean == 128 else None
        return Codes(np.float32(self.scale), int(self.mean))


def pixel_chain(graph: OnnxGraph, tensor: str) -> PixelChain | None:
    """The chain from the frames to a tensor; None where it is not of that simple kind."""
    names: list[str] = []
    steps: list[tuple[str, float]] = []  # from the tensor back to the frames
    while tensor != INPUT_NAME:
        node = graph.producer(tensor)
        if node is None or len(graph.activation_inputs(node)) != 1:
            return None
        names.append(node.name)
        if node.op_type in {"Sub", "Div", "Mul"}:
            value = _one_value(graph, node)
            if value is None:
                return None
            steps.append((node.op_type, value))
        elif node.op_type not in _CHANNELWISE:
            return None
        tensor = graph.activation_inputs(node)[0]
    mean, scale = 0.0, 1.0  # value = (pixel - mean) * scale
    for operator, value in reversed(steps):
        if operator == "Sub":
            mean += value / scale
        else:
            scale = scale / value if operator == "Div" else scale * value
    return PixelChain(tuple(reversed(names)), mean, scale)


def _one_value(graph: OnnxGraph, node: Any) -> float | None:
    """The constant on the right of a node, where all its elements are the same and not 0."""
    constant = graph.constant(node.input[1])
    if constant is None or constant.size == 0 or (constant != constant.flat[0]).any():
        return None
    value = float(constant.flat[0])
    return value if value != 0 or node.op_type == "Sub" else None
