"""Small ONNX networks put together line by line, and what quantizing them needs.

Tests load this as a module of its own: `from small_nets import Net, quantize, run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bas_edge.engine.onnx_graph import OnnxGraph, with_outputs
from bas_edge.quantization.codes import Codes, Flavour, pixel_chain
from bas_edge.quantization.histograms import TensorStatistics
from bas_edge.quantization.layers import Layer, find_layers, observed_tensors
from bas_edge.quantization.qdq import insert_qdq
from bas_edge.quantization.ranges import tensor_range

SIDE = 12  # of frames, in pixels


class Net:
    """A graph from `frames` uint8 [N, SIDE, SIDE, 3] on. Methods return the name of a tensor."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def add(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        """A node called `name`, whose output is called so too."""
        node = helper.make_node(operator, list(inputs), [name], name=name, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def pixels(self, mean: Any = 0.0, scale: Any = 1 / 255) -> str:
        """[N, 3, SIDE, SIDE] = (frames - mean) * scale, in planes."""
        x = self.add("Cast", "frames", name="floats", to=TensorProto.FLOAT)
        x = self.add("Transpose", x, name="planes", perm=[0, 3, 1, 2])
        x = self.add("Sub", x, self.constant("mean", np.float32(mean)), name="centred")
        return self.add("Mul", x, self.constant("scale", np.float32(scale)), name="pixels")

    def conv(
        self,
        x: str,
        shape: Sequence[int],
        *,
        name: str,
        bias: bool = True,
        weights: NDArray[np.float32] | None = None,
        **attributes: Any,
    ) -> str:
        """Random weights [O, I / groups, h, w] of a size that keeps the size of values."""
        if weights is None:
            spread = float(np.sqrt(2 / np.prod(shape[1:])))
            weights = self.rng.normal(0, spread, shape).astype(np.float32)
        inputs = [x, self.constant(f"{name}.w", weights)]
        if bias:
            values = self.rng.normal(0, 0.2, shape[0]).astype(np.float32)
            inputs.append(self.constant(f"{name}.b", values))
        return self.add("Conv", *inputs, name=name, **attributes)

    def relu6(self, x: str, *, name: str) -> str:
        ends = self.constant("zero", np.float32(0)), self.constant("six", np.float32(6))
        return self.add("Clip", x, *ends, name=name)

    def heads(self, x: str, channels: int, classes: int = 4) -> None:
        """`logits` by global pooling, and `maps` by a sigmoid."""
        y = self.conv(x, (classes, channels, 1, 1), name="to_classes")
        y = self.add("GlobalAveragePool", y, name="pooled")
        self.add("Flatten", y, name="logits")
        z = self.conv(x, (classes, channels, 1, 1), name="to_maps")
        self.add("Sigmoid", z, name="maps")

    def model(self, **outputs: int) -> bytes:
        """A file whose outputs have these ranks."""
        graph = helper.make_graph(
            self.nodes,
            "small",
            [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *[None] * (rank - 1)])
                for name, rank in outputs.items()
            ],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def mobile(seed: int = 0, *, mean: float = 128.0, scale: float = 1 / 64) -> bytes:
    """Convolutions of every kind that exported backbones have, and both heads."""
    net = Net(seed)
    x = net.relu6(net.conv(net.pixels(mean, scale), (8, 3, 3, 3), name="stem"), name="stem_clip")
    skip = net.conv(x, (8, 8, 1, 1), name="reduce", bias=False)
    x = net.conv(skip, (8, 1, 3, 3), name="depthwise", group=8, pads=[1, 1, 1, 1])
    x = net.add("Relu", x, name="depthwise_relu")
    x = net.add("Add", net.conv(x, (8, 8, 1, 1), name="expand"), skip, name="sum")
    x = net.add("AveragePool", x, name="halved", kernel_shape=[2, 2], strides=[2, 2])
    x = net.conv(x, (8, 4, 3, 3), name="grouped", group=2, pads=[1, 1, 1, 1])
    net.heads(net.add("Relu", x, name="grouped_relu"), 8)
    return net.model(logits=2, maps=4)


def noise(count: int, seed: int = 3) -> NDArray[np.uint8]:
    """Frames [N, SIDE, SIDE, 3] with patches, so that pooled values vary."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (count, 3, 3, 3))
    fine = rng.integers(0, 56, (count, SIDE, SIDE, 3))
    frames: NDArray[np.uint8] = (coarse.repeat(4, 1).repeat(4, 2) + fine).astype(np.uint8)
    return frames


def run(
    model: bytes,
    frames: NDArray[np.uint8],
    *,
    optimized: bool = False,
    saved: Path | None = None,
    without: Sequence[str] = (),
) -> dict[str, NDArray[Any]]:
    """All outputs; without `optimized`, each node is computed as its definition says.

    `without` names optimizers of ONNX Runtime that are switched off.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if saved is not None:
        options.optimized_model_filepath = str(saved)
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_EXTENDED if optimized else levels.ORT_DISABLE_ALL
    )
    session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(without)
    )
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {"frames": frames}), strict=True))


def layers_of(graph: OnnxGraph, keep: Sequence[str] = ()) -> list[Layer]:
    return [layer for layer in find_layers(graph) if layer.node not in keep]


def statistics(
    model: bytes, frames: NDArray[np.uint8], keep: Sequence[str] = ()
) -> dict[str, TensorStatistics]:
    """Of every tensor that the layers of a float graph read or compute."""
    names = observed_tensors(layers_of(OnnxGraph.read(model), keep))
    values = run(with_outputs(model, names), frames)
    found = {name: TensorStatistics() for name in names}
    for name, each in found.items():
        each.add(values[name])
    return found


def codes_of(
    graph: OnnxGraph,
    observed: Mapping[str, TensorStatistics],
    flavour: Flavour,
    method: str = "min-max",
) -> dict[str, Codes]:
    codes = {}
    for name, each in observed.items():
        chain = pixel_chain(graph, name)
        found = tensor_range(each.histogram, method, symmetric=flavour == "tensorrt")
        own = None if chain is None else chain.codes(flavour)
        codes[name] = own or Codes.covering(found, flavour)
    return codes


def quantize(
    model: bytes,
    flavour: Flavour,
    frames: NDArray[np.uint8],
    *,
    keep: Sequence[str] = (),
    correct: bool = False,
    **options: Any,
) -> bytes:
    """The quantized twin of a float graph, with ranges from `frames`."""
    graph = OnnxGraph.read(model)
    observed = statistics(model, frames, keep)
    means = {name: each.mean for name, each in observed.items()} if correct else None
    codes = codes_of(graph, observed, flavour)
    insert_qdq(graph, layers_of(graph, keep), codes, flavour, means=means, **options)
    return graph.serialize()


def sqnr_db(exact: NDArray[np.float32], rounded: NDArray[np.float32]) -> float:
    """Signal to quantization noise, in decibel, of values without their mean."""
    signal = ((exact - exact.mean()) ** 2).sum(dtype=np.float64)
    noise_power = ((exact - rounded) ** 2).sum(dtype=np.float64)
    return float(10 * np.log10(signal / max(noise_power, 1e-30)))


def operators(model: bytes | Path) -> list[str]:
    """The operators of a graph, in order."""
    loaded = onnx.load(model) if isinstance(model, Path) else onnx.load_from_string(model)
    return [node.op_type for node in loaded.graph.node]
