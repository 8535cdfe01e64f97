"""Explicit QuantizeLinear and DequantizeLinear nodes, placed so that each library fuses them.

ONNX Runtime on a CPU: unsigned activations; every layer in eight bits has its result quantized,
its bias in int32, and no activation of its own where the codes end at the same values.
TensorRT: signed, symmetric activations; a pair of its own before every reader of a tensor, so
that the pair moves into the layer that computes it; float biases; a sum quantizes its skip
connection only, so that the other side fuses with its convolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.quantization.codes import (
    Codes,
    Flavour,
    PixelChain,
    WeightCodes,
    pixel_chain,
    weight_codes,
)
from bas_edge.quantization.layers import Layer

__all__ = ["insert_qdq", "mean_shift", "output_axis"]

_INT32_ROOM = 2.0**30  # magnitudes of int32 biases stay below this
_SLACK = 1 + 1e-6  # of float32 scales
_SEVEN_BITS = 64


def insert_qdq(
    graph: OnnxGraph,
    layers: Sequence[Layer],
    codes: Mapping[str, Codes],
    flavour: Flavour,
    *,
    means: Mapping[str, NDArray[np.float64]] | None = None,
    reduce_range: bool = False,
) -> None:
    """Quantize `layers` of a float32 graph, in place.

    Args:
        graph: An exported graph.
        layers: What computes in eight bits.
        codes: For every tensor that these layers read, and for ONNX Runtime what they compute.
        flavour: Whose rules the places follow.
        means: Mean of each channel [C] of tensors that layers with weights read. With them,
            biases make up for what rounding the weights does to the mean of each output channel.
        reduce_range: Seven bits for weights: sums of two products then fit into 16 bits, which
            x86 CPUs without VNNI sum in.
    """
    _Insertion(graph, layers, codes, flavour, means or {}, reduce_range).run()


class _Insertion:
    def __init__(
        self,
        graph: OnnxGraph,
        layers: Sequence[Layer],
        codes: Mapping[str, Codes],
        flavour: Flavour,
        means: Mapping[str, NDArray[np.float64]],
        reduce_range: bool,
    ) -> None:
        self.graph, self.codes, self.flavour, self.means = graph, codes, flavour, means
        self.layers = {layer.node: layer for layer in layers}
        self.largest_code = _SEVEN_BITS if reduce_range else 127
        self.computed = {layer.result for layer in layers}  # by a layer in eight bits
        self.read = {name: self._quantized_sources(layer) for name, layer in self.layers.items()}
        self.nodes: list[Any] = []
        self.shared: dict[str, str] = {}  # tensor -> its dequantized form (ONNX Runtime)
        self.quantized = {name for names in self.read.values() for name in names}
        if flavour == "onnxruntime":
            self.quantized |= self.computed

    def run(self) -> None:
        removed = self._fold_activations()
        for node in self.graph.nodes:
            if node.name in removed:
                continue
            layer = self.layers.get(node.name)
            for port, name in enumerate(node.input):
                if name in self.quantized and self._reads_codes(node, layer, name):
                    node.input[port] = self._pair(name)
            if layer is not None and layer.weighted:
                self._quantize_weights(node, layer)
            self.nodes.append(node)
        self.graph.set_nodes(self.nodes)
        del self.graph.model.graph.value_info[:]
        if self.flavour == "onnxruntime":
            self._take_pixels_as_codes()
        self.graph.refresh()

    # Which readers see quantized values

    def _quantized_sources(self, layer: Layer) -> set[str]:
        """The tensors that a layer reads quantized."""
        if layer.operator != "Add" or self.flavour == "onnxruntime":
            return set(layer.sources)
        skips = [name for name in layer.sources if not self._fuses_into_sum(name)]
        return set(skips) if skips else {layer.sources[1]}

    def _fuses_into_sum(self, tensor: str) -> bool:
        """Whether a convolution in eight bits computes a tensor for its one reader, a sum."""
        node = self.graph.producer(tensor)
        own = node is not None and node.name in self.layers and self.layers[node.name].weighted
        alone = len(self.graph.consumers(tensor)) == 1 and tensor not in self.graph.outputs
        return own and alone

    def _reads_codes(self, node: Any, layer: Layer | None, name: str) -> bool:
        if layer is not None:
            return name in self.read[node.name]
        return name in self.computed  # float readers of a float result read it as it is

    # Activations

    def _fold_activations(self) -> set[str]:
        """Remove activations that the codes perform; names of the removed nodes."""
        removed: set[str] = set()
        for layer in self.layers.values():
            if not layer.activation or not self._codes_end_there(layer):
                continue
            node, activation = self.graph.node(layer.node), self.graph.node(layer.activation)
            if self.flavour == "onnxruntime":
                node.output[0] = layer.result
                removed.add(layer.activation)
            elif activation.op_type == "Clip":  # codes end above, where the layer saturates
                del activation.input[1:]
                activation.op_type = "Relu"
        return removed

    def _codes_end_there(self, layer: Layer) -> bool:
        """Whether quantizing does what the activation does; for TensorRT, its upper end only."""
        activation, result = self.graph.node(layer.activation), layer.result
        if result in self.graph.outputs or result not in self.quantized:
            return False
        codes = self.codes[result]
        if self.flavour == "onnxruntime" and codes.zero != 0:
            return False
        if self.flavour == "tensorrt" and not all(
            self._reads_codes(reader, self.layers.get(reader.name), result)
            for reader in self.graph.consumers(result)
        ):
            return False
        if activation.op_type == "Relu":
            return True
        low, high = (
            self.graph.constant(activation.input[port]) if port < len(activation.input) else None
            for port in (1, 2)
        )
        if low is None or high is None or float(low) != 0.0:
            return False
        return codes.highest(self.flavour) <= float(high) * _SLACK

    # Pairs

    def _pair(self, tensor: str) -> str:
        """The name of `tensor` through a QuantizeLinear and a DequantizeLinear."""
        if tensor in self.shared:
            return self.shared[tensor]
        codes = self.codes[tensor]
        kind = np.int8 if self.flavour == "tensorrt" else np.uint8
        scale = self._constant(f"{tensor}/scale", codes.scale)
        zero = self._constant(f"{tensor}/zero", np.array(codes.zero, kind))
        integers = self.graph.unused(f"{tensor}/codes")
        restored = self.graph.unused(f"{tensor}/restored")
        self._add("QuantizeLinear", [tensor, scale, zero], integers)
        self._add("DequantizeLinear", [integers, scale, zero], restored)
        if self.flavour == "onnxruntime":
            self.shared[tensor] = restored
        return restored

    def _quantize_weights(self, node: Any, layer: Layer) -> None:
        """Replace a layer's weights by codes, and its bias as far as the flavour asks."""
        graph = self.graph
        weights = graph.weights(node).astype(np.float32)
        axis = output_axis(graph, node)
        source = self.codes[layer.sources[0]]
        has_bias = len(node.input) > 2 and bool(node.input[2])
        bias = graph.weights(node, 2).reshape(-1) if has_bias else None  # [O], or [1] for all
        can_have_bias = node.op_type in {"Conv", "Gemm"}
        least: NDArray[np.float64] | float = 0.0
        if bias is not None and self.flavour == "onnxruntime":
            least = np.abs(bias.astype(np.float64)) / (float(source.scale) * _INT32_ROOM)
        coded = weight_codes(weights, axis, largest_code=self.largest_code, least_scale=least)
        label = node.input[1]
        node.input[1] = self._dequantized(label, coded.values, coded.scales, axis)
        if can_have_bias and layer.sources[0] in self.means:
            shift = mean_shift(
                graph, node, weights - coded.dequantized, self.means[layer.sources[0]], axis
            )
            bias = (0.0 if bias is None else bias) + shift
        if bias is None:
            return
        label = node.input[2] if has_bias else f"{layer.node}/bias"
        values = np.broadcast_to(np.asarray(bias, np.float32), coded.scales.shape)
        if self.flavour == "onnxruntime":
            name = self._int32_bias(label, values, source, coded)
        else:
            name = self._constant(f"{label}/corrected", values)
        if len(node.input) > 2:
            node.input[2] = name
        else:
            node.input.append(name)

    def _int32_bias(
        self, label: str, bias: NDArray[np.float32], source: Codes, weights: WeightCodes
    ) -> str:
        scales = (source.scale * weights.scales).astype(np.float32)
        codes = np.clip(np.rint(bias.astype(np.float64) / scales), -(2.0**31), 2.0**31 - 1)
        return self._dequantized(label, codes.astype(np.int32), scales, 0)

    def _dequantized(
        self, label: str, codes: NDArray[Any], scales: NDArray[np.float32], axis: int
    ) -> str:
        """The name of constant codes behind a DequantizeLinear with a scale per channel."""
        names = [
            self._constant(f"{label}/codes", codes),
            self._constant(f"{label}/scales", scales),
            self._constant(f"{label}/zeros", np.zeros(len(scales), codes.dtype)),
        ]
        restored = self.graph.unused(f"{label}/restored")
        self._add("DequantizeLinear", names, restored, axis=axis)
        return restored

    # The first layer reads pixels

    def _take_pixels_as_codes(self) -> None:
        """Where the first codes are the pixels, do not make floats of them first."""
        for node in [n for n in self.graph.nodes if n.op_type == "QuantizeLinear"]:
            chain = pixel_chain(self.graph, node.input[0])
            codes = self.codes.get(node.input[0])
            if chain is not None and codes is not None and chain.codes("onnxruntime") == codes:
                self._without_floats(node, chain)

    def _without_floats(self, quantize: Any, chain: PixelChain) -> None:
        """Leave of a chain what moves pixels, and let its end be read as codes."""
        graph = self.graph
        moved = INPUT_NAME
        kept: list[Any] = []
        for name in chain.nodes:
            node = graph.node(name)
            tensor = node.output[0]
            if len(graph.consumers(tensor)) > 1 or tensor in graph.outputs:
                return  # somebody else reads these floats
            if node.op_type in {"Transpose", "Slice"}:
                kept.append((node, moved))
                moved = node.output[0]
        for node, source in kept:
            node.input[0] = source
        for reader in graph.consumers(quantize.output[0]):
            reader.input[0] = moved
        gone = set(chain.nodes) - {node.name for node, _ in kept} | {quantize.name}
        graph.set_nodes(node for node in graph.nodes if node.name not in gone)

    # Nodes and constants

    def _add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        name = self.graph.unused(output + "/" + ("q" if operator[0] == "Q" else "dq"))
        self.nodes.append(
            self.graph.onnx.helper.make_node(operator, inputs, [output], name=name, **attributes)
        )

    def _constant(self, label: str, value: NDArray[Any] | np.float32) -> str:
        return self.graph.add_constant(label, np.asarray(value))


def output_axis(graph: OnnxGraph, node: Any) -> int:
    """The axis of a layer's weights that counts its output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if graph.attribute(node, "transB", 0) else 1
    return int(graph.weights(node).ndim) - 1


def mean_shift(
    graph: OnnxGraph,
    node: Any,
    lost: NDArray[np.float32],
    means: NDArray[np.float64],
    axis: int,
) -> NDArray[np.float64]:
    """[O]: by how much the mean of each output falls when `lost` is missing from the weights."""
    if node.op_type != "Conv":
        by_output = np.moveaxis(lost.astype(np.float64), axis, 0)  # [O, I]
        shift: NDArray[np.float64] = by_output @ means
        return shift
    sums = lost.astype(np.float64).sum(axis=tuple(range(2, lost.ndim)))  # [O, I / groups]
    groups = int(graph.attribute(node, "group", 1))
    per_group = means.reshape(groups, -1)  # [G, I / G]
    owner = np.arange(len(sums)) // (len(sums) // groups)
    result: NDArray[np.float64] = (sums * per_group[owner]).sum(axis=1)
    return result
