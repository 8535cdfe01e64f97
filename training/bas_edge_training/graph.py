"""The graph contract, and the surgery that gives a graph one of its three forms.

Every function here takes a model, changes it in place and returns it. See docs/graph.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from bas_edge_training.capture import BATCH, capture
from bas_edge_training.mean_generator import MeanGenerator
from bas_edge_training.methods import BAS, Method
from bas_edge_training.models import BasModel

__all__ = [
    "ClassMaps",
    "contract_graph",
    "find_class_maps",
    "replace_by_mean",
    "select_classes",
]


def contract_graph(
    model: BasModel, seams: dict[str, str] | None = None, *, method: Method = BAS
) -> onnx.ModelProto:
    """The form `all`: frames uint8 [N, H, W, 3] -> logits [N, C], maps [N, C, h, w].

    Of a method whose maps depend on no class, the form `mean`: foreground [N, 1, h, w].
    `seams` receives the name of what passes through each Seam of the model, by its module's name;
    where that was padded first, by a padding that became the convolution's, it is what was padded.
    """
    side = model.config.input_size

    def forward(frames: Tensor) -> tuple[Tensor, ...]:
        # Cast first: TensorRT refuses Transpose on uint8.
        return method.outputs(model, frames.float().permute(0, 3, 1, 2))

    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    graph = capture(
        forward,
        example,
        module=model,
        input_name="frames",
        output_names=method.output_names,
        seams=seams,
    )
    padded = {node.output[0]: node.input[0] for node in graph.graph.node if node.op_type == "Pad"}
    _fold_pads(graph)
    if seams is not None:
        left = {value for node in graph.graph.node for value in node.output}
        for module, value in seams.items():
            while value not in left:
                value = padded[value]
            seams[module] = value
    return graph


@dataclass(frozen=True, slots=True)
class ClassMaps:
    """What computes `maps`: Conv, whose rows are classes, and the activation behind it.

    BAS's generator ends with a Sigmoid; class activation maps have a Relu or nothing.

    Attributes:
        layer: Name of the convolution's node, and of the torch module it came from.
        features: Name of the value that the convolution reads.
        weight: float32 [C, channels, kernel, kernel], kernel 1 or 3, zero padding kernel // 2.
        bias: float32 [C]; zeros where the convolution has none.
        cells: (h, w) of the maps.
        activation: "Sigmoid", "Relu" or "".
    """

    layer: str
    features: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    cells: tuple[int, int]
    activation: str


def find_class_maps(model: onnx.ModelProto) -> ClassMaps:
    """The convolution that ends in the output `maps` of a graph of form `all`."""
    activation, conv = _map_nodes(model)
    constants = {i.name: i for i in model.graph.initializer}
    weight, *biases = (np.array(numpy_helper.to_array(constants[name])) for name in conv.input[1:])
    bias = biases[0] if biases else np.zeros(len(weight), np.float32)
    kernel = weight.shape[-1]
    pads = list(_attribute(conv, "pads"))
    if kernel not in (1, 3) or pads != [kernel // 2] * 4 or _attribute(conv, "group") != 1:
        raise ValueError(f"{conv.name} is not a plain 1x1 or 3x3 convolution")
    shape = _output(model, "maps").type.tensor_type.shape
    height, width = (d.dim_value for d in shape.dim[2:])
    behind = "" if activation is None else activation.op_type
    return ClassMaps(conv.name, conv.input[0], weight, bias, (height, width), behind)


def select_classes(model: onnx.ModelProto, k: int) -> onnx.ModelProto:
    """All -> selected: compute the maps of the k best classes and of no other.

    The convolution's weights become a table that Gather reads at TopK's indices. A 3x3
    convolution is nine 1x1s, one per tap: one MatMul computes them all, and each tap's result
    is shifted into place and added. Static shapes but for the batch, no dynamic conv weights.
    """
    end = find_class_maps(model)
    classes, channels, kernel, _ = end.weight.shape
    taps, (h, w) = kernel * kernel, end.cells
    _remove_maps(model)
    new = _Nodes(model, "selection")
    best = new.constant("k", np.array([k], np.int64))
    index = new.add("TopK", ["logits", best], outputs=2, axis=1, largest=1, sorted=1)
    new.add("Cast", [index], to=TensorProto.INT32, name="classes")

    table = end.weight.reshape(classes, channels, taps).transpose(0, 2, 1)  # [C, taps, channels]
    rows = new.add("Gather", [new.constant("weights", table), index], axis=0)
    rows = new.add("Reshape", [rows, new.shape(0, k * taps, channels)])
    cells = new.add("Reshape", [end.features, new.shape(0, channels, h * w)])
    maps = new.add("MatMul", [rows, cells])  # [N, K * taps, h * w]
    if kernel == 3:
        maps = new.add("Reshape", [maps, new.shape(0, k, taps, h, w)])
        maps = _shift_and_add(new, maps, h, w)
    maps = new.add("Reshape", [maps, new.shape(0, k, h, w)])
    bias = new.add("Gather", [new.constant("biases", end.bias), index], axis=0)
    bias = new.add("Reshape", [bias, new.shape(0, k, 1, 1)])
    if end.activation:
        new.add(end.activation, [new.add("Add", [maps, bias])], name="maps")
    else:
        new.add("Add", [maps, bias], name="maps")
    _set_outputs(model, _output(model, "logits"), _described("classes", k, kind=TensorProto.INT32),
                 _described("maps", k, h, w))  # fmt: skip
    return model


def replace_by_mean(model: onnx.ModelProto, mean: MeanGenerator) -> onnx.ModelProto:
    """All -> mean: one distilled map `foreground` [N, 1, h, w] instead of C class maps."""
    end = find_class_maps(model)
    kernel = end.weight.shape[-1]
    _remove_maps(model)
    new = _Nodes(model, "mean")
    weights = [new.constant("weight", mean.weight), new.constant("bias", mean.bias)]
    parts = new.add(
        "Conv", [end.features, *weights], kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4
    )
    parts = new.add("Sigmoid", [parts])
    share = new.constant("share", mean.share.reshape(1, -1, 1, 1))
    new.add("Conv", [parts, share], kernel_shape=[1, 1], name="foreground")
    _set_outputs(model, _output(model, "logits"), _described("foreground", 1, *end.cells))
    return model


def _shift_and_add(new: _Nodes, taps: str, h: int, w: int) -> str:
    """[N, K, 9, h, w], taps row by row -> [N, K, 1, h, w], each tap from its own neighbour cell."""
    border = np.array([0, 0, 0, 1, 1, 0, 0, 0, 1, 1], np.int64)
    padded = new.add("Pad", [taps, new.constant("border", border)])
    axes = new.constant("axes", np.array([2, 3, 4], np.int64))
    total = ""
    for tap in range(9):
        dy, dx = divmod(tap, 3)
        start = new.constant("start", np.array([tap, dy, dx], np.int64))
        end = new.constant("end", np.array([tap + 1, dy + h, dx + w], np.int64))
        shifted = new.add("Slice", [padded, start, end, axes])
        total = new.add("Add", [total, shifted]) if total else shifted
    return total


class _Nodes:
    """Appends nodes and constants to a graph under one prefix."""

    def __init__(self, model: onnx.ModelProto, prefix: str) -> None:
        self._graph = model.graph
        self._prefix = prefix
        self._counts: dict[str, int] = {}

    def add(
        self, op: str, inputs: Sequence[str], *, outputs: int = 1, name: str = "", **attributes: Any
    ) -> str:
        """Name of the last output: `name` where given, which then is the only one."""
        own = name or self._unique(op.lower())
        values = [own] if name else [f"{own}:{index}" for index in range(outputs)]
        self._graph.node.append(helper.make_node(op, inputs, values, own, **attributes))
        return values[-1]

    def constant(self, label: str, array: NDArray[Any]) -> str:
        name = self._unique(label)
        array = np.asarray(array, order="C")
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def shape(self, *dims: int) -> str:
        """A target of Reshape; 0 keeps the batch."""
        return self.constant("shape", np.array(dims, np.int64))

    def _unique(self, label: str) -> str:
        self._counts[label] = count = self._counts.get(label, 0) + 1
        return f"{self._prefix}/{label}" + (f"_{count}" if count > 1 else "")


def _fold_pads(model: onnx.ModelProto) -> None:
    """Pad with zeros -> Conv becomes the convolution's own `pads`: TensorFlow's SAME."""
    constants = {i.name: i for i in model.graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    for node in reversed([n for n in model.graph.node if n.op_type == "Pad"]):
        conv, *others = readers[node.output[0]]
        pads = numpy_helper.to_array(constants[node.input[1]])
        before, after = np.split(pads, 2)
        plain = len(node.input) == 2 and not others  # filled with zeros, for one reader
        if not plain or conv.op_type != "Conv" or any(before[:2]) or any(after[:2]):
            continue
        (own,) = (a for a in conv.attribute if a.name == "pads")
        own.ints[:] = np.add(own.ints, [*before[2:], *after[2:]]).tolist()
        conv.input[0] = node.input[0]
        readers[node.input[0]] = [conv]  # a Pad before this one folds as well
        model.graph.node.remove(node)
        model.graph.initializer.remove(constants[node.input[1]])


def _map_nodes(model: onnx.ModelProto) -> tuple[onnx.NodeProto | None, onnx.NodeProto]:
    """The activation, if any, and the Conv before the output `maps`."""
    producers = {value: node for node in model.graph.node for value in node.output}
    last, activation = producers["maps"], None
    if last.op_type in ("Sigmoid", "Relu"):
        activation, last = last, producers[last.input[0]]
    if last.op_type != "Conv":
        raise ValueError(f"maps come from {last.op_type}, not from a Conv and its activation")
    return activation, last


def _remove_maps(model: onnx.ModelProto) -> None:
    """Their nodes, and weights that nothing else reads: CAM shares its own with the classifier."""
    for node in _map_nodes(model):
        if node is not None:
            model.graph.node.remove(node)
    read = {name for node in model.graph.node for name in node.input}
    for initializer in [i for i in model.graph.initializer if i.name not in read]:
        model.graph.initializer.remove(initializer)


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next(helper.get_attribute_value(a) for a in node.attribute if a.name == name)


def _output(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    found: list[onnx.ValueInfoProto] = [o for o in model.graph.output if o.name == name]
    return found[0]


def _described(name: str, *dims: int, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [BATCH, *dims])


def _set_outputs(model: onnx.ModelProto, *outputs: onnx.ValueInfoProto) -> None:
    kept = [onnx.ValueInfoProto.FromString(o.SerializeToString()) for o in outputs]
    del model.graph.output[:]
    model.graph.output.extend(kept)
