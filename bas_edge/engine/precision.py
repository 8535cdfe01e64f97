"""Float16 made in the graph itself, so that every runtime computes the same thing.

Kept in float32, because rounding there costs boxes or overflows:
  - everything before the first layer with weights (cast, transpose, normalisation of the frame);
  - the classifier: from the global pooling to `logits`, and all that reads `logits`;
  - the end of the generator: its last layer with weights before the sigmoid, the sigmoid, and all
    between it and the maps;
  - layers whose constants float16 cannot hold, which are reported.
Inputs and outputs keep their types. The only file of this package that imports onnx.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bas_edge._require import require
from bas_edge.errors import EngineError, InputError

__all__ = ["LARGEST", "HalfGraph", "to_half", "with_outputs"]

_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_POOLING = {"GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum", "ReduceMax"}
_SIGMOIDS = {"Sigmoid", "HardSigmoid", "Softmax"}
_QUANTIZED = {"QuantizeLinear", "DequantizeLinear"}
# Their output's type is an attribute, not that of their inputs.
_TYPED_BY_ATTRIBUTE = {"Cast", "ConstantOfShape", "RandomNormal", "RandomUniform", "EyeLike"}
_SUFFIXES = {True: "_fp16", False: "_fp32"}  # of the names of converted tensors
LARGEST = float(np.finfo(np.float16).max)  # 65504


@dataclass(frozen=True, slots=True)
class HalfGraph:
    """A graph in float16.

    Attributes:
        model: The serialized ONNX file.
        half: How many nodes compute in float16.
        kept: How many compute in float32.
        tensors: What holds float16 now, by the names of the float32 graph.
        notes: A sentence for each layer that was kept because of its constants.
    """

    model: bytes
    half: int
    kept: int
    tensors: tuple[str, ...]
    notes: tuple[str, ...]


def to_half(path: Path, *, outputs: Iterable[str] = ("maps", "foreground")) -> HalfGraph:
    """Make the float16 twin of an exported float32 graph.

    Args:
        path: The ONNX file.
        outputs: Names that its map output may have.

    Raises:
        MissingExtraError: The `[build]` extra is not installed.
        EngineError: The file cannot be read, or the result does not pass onnx's checker.
        InputError: The graph is quantized, or has graphs inside its nodes.
    """
    onnx = require("onnx", extra="build", purpose="Precision fp16")
    model = _load(onnx, path)
    surgery = _Surgery(onnx, model, set(outputs))
    surgery.convert()
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # as above
        raise EngineError(
            f"The float16 twin of {path} is no valid graph: {error}",
            hint="Build with --precision fp32, and report the message.",
        ) from error
    half = len(surgery.half)
    return HalfGraph(
        model=model.SerializeToString(),
        half=half,
        kept=surgery.count - half,
        tensors=tuple(sorted(surgery.halves)),
        notes=tuple(surgery.notes),
    )


def with_outputs(path: Path, names: Iterable[str]) -> bytes:
    """The graph in `path` with further tensors as outputs, so that their values can be seen.

    Raises:
        MissingExtraError, EngineError: See `to_half`.
    """
    onnx = require("onnx", extra="build", purpose="Precision fp16")
    model = _load(onnx, path)
    wanted = set(names) - {value.name for value in model.graph.output}
    model.graph.output.extend(v for v in model.graph.value_info if v.name in wanted)
    return bytes(model.SerializeToString())


def _load(onnx: Any, path: Path) -> Any:
    try:
        model = onnx.load(path)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # onnx and protobuf share no base below Exception
        raise EngineError(
            f"{path} cannot be read as an ONNX graph: {error}",
            hint="Export it again: bas-edge export CHECKPOINT -o model.onnx",
        ) from error


class _Surgery:
    """One conversion. Nodes are known by their place in the graph as it was."""

    def __init__(self, onnx: Any, model: Any, map_outputs: set[str]) -> None:
        self.onnx, self.graph = onnx, model.graph
        self.notes: list[str] = []
        names = {name for node in model.graph.node for name in (*node.input, *node.output)}
        self.suffixes = {half: _unused(text, names) for half, text in _SUFFIXES.items()}
        self.halves: set[str] = set()  # tensors that are float16 now
        self.opsets = {each.domain: each.version for each in model.opset_import}
        self._constants_to_initializers()
        self.nodes = list(self.graph.node)
        self.count = len(self.nodes)
        self.initializers = {value.name: value for value in self.graph.initializer}
        self.producer = {name: at for at, node in enumerate(self.nodes) for name in node.output}
        self.floats = set(self._float_tensors())
        if any(node.op_type in _QUANTIZED for node in self.nodes):
            raise InputError(
                "The graph is quantized; precision fp16 starts from a float32 graph.",
                hint="Give the graph that bas-edge export wrote.",
            )
        inner = [n for n in self.nodes if any(a.HasField("g") for a in n.attribute)]
        if inner:
            raise InputError(
                f"{inner[0].op_type} '{inner[0].name}' holds a graph of its own; precision fp16 "
                "cannot look inside.",
                hint="Give the graph that bas-edge export wrote, or build with --precision fp32.",
            )
        kept = self._before_weights() | self._classifier()
        kept |= self._generator_end(map_outputs, kept)
        self.half = {
            at for at, node in enumerate(self.nodes) if at not in kept and self._can_be_half(node)
        }

    def convert(self) -> None:
        """Rewrite the graph in place."""
        del self.graph.value_info[:]  # the old types
        rewritten: list[Any] = []
        casts: dict[tuple[str, bool], str] = {}
        halves = self.halves
        for at, node in enumerate(self.nodes):
            half_inputs = self._half_ports(node, node.input, "inputs") if at in self.half else set()
            for port, name in enumerate(node.input):
                if name not in self.floats:
                    continue
                if name in self.initializers:
                    if port in half_inputs:
                        node.input[port] = self._half_initializer(name)
                elif (name in halves) != (port in half_inputs):
                    node.input[port] = self._cast(name, port in half_inputs, casts, rewritten)
            if at in self.half:
                ports = self._half_ports(node, node.output, "outputs")
                halves |= {node.output[port] for port in ports if node.output[port] in self.floats}
            rewritten.append(node)
        self._restore_outputs(rewritten, halves)
        del self.graph.node[:]
        self.graph.node.extend(rewritten)
        used = {name for node in rewritten for name in node.input}
        kept = [value for value in self.graph.initializer if value.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    # What stays in float32

    def _before_weights(self) -> set[int]:
        """Nodes that no layer with weights comes before."""
        after: set[int] = set()
        for at, node in enumerate(self.nodes):
            sources = {self.producer[name] for name in node.input if name in self.producer}
            if node.op_type in _WEIGHTED or sources & after:
                after.add(at)
        return set(range(self.count)) - after

    def _classifier(self) -> set[int]:
        """From the global pooling to `logits`, and every node that depends on `logits` alone."""
        kept: set[int] = set()
        pending = [self.producer["logits"]] if "logits" in self.producer else []
        pooled = self._has_before(pending, _POOLING)
        while pending:
            at = pending.pop()
            if at in kept:
                continue
            kept.add(at)
            operator = self.nodes[at].op_type
            if operator in _POOLING or (not pooled and operator in _WEIGHTED):
                continue
            pending += self._float_sources(at)
        depends = {"logits"}
        for at, node in enumerate(self.nodes):
            inputs = {name for name in node.input if name and name not in self.initializers}
            if inputs and inputs <= depends:
                kept.add(at)
                depends |= set(node.output)
        return kept

    def _generator_end(self, outputs: set[str], classifier: set[int]) -> set[int]:
        """From the last layer with weights before the sigmoid to the maps."""
        kept: set[int] = set()
        ends = [
            self.producer[value.name]
            for value in self.graph.output
            if value.name in outputs and value.name in self.producer
        ]
        sigmoid_ahead = self._has_before(ends, _SIGMOIDS)
        pending = [(at, not sigmoid_ahead) for at in ends]  # (node, whether the sigmoid is behind)
        while pending:
            at, passed = pending.pop()
            if at in kept or at in classifier:
                continue
            kept.add(at)
            operator = self.nodes[at].op_type
            if operator in _WEIGHTED and passed:
                continue
            passed = passed or operator in _SIGMOIDS
            pending += [(source, passed) for source in self._float_sources(at)]
        return kept

    def _has_before(self, start: list[int], operators: set[str]) -> bool:
        """Whether one of `operators` is found before a second layer with weights."""
        pending, seen = [(at, 0) for at in start], set[int]()
        while pending:
            at, layers = pending.pop()
            operator = self.nodes[at].op_type
            if operator in operators:
                return True
            layers += operator in _WEIGHTED
            if at not in seen and layers < 2:
                seen.add(at)
                pending += [(source, layers) for source in self._float_sources(at)]
        return False

    def _float_sources(self, at: int) -> list[int]:
        names = [name for name in self.nodes[at].input if name in self.floats]
        return [self.producer[name] for name in names if name in self.producer]

    def _can_be_half(self, node: Any) -> bool:
        if node.op_type in _TYPED_BY_ATTRIBUTE:
            return False
        ports = self._half_ports(node, node.input, "inputs")
        if not ports and not self._half_ports(node, node.output, "outputs"):
            return False
        for port in ports:
            if node.input[port] in self.initializers and (
                reason := self._does_not_fit(node.input[port])
            ):
                self.notes.append(
                    f"{node.op_type} '{node.name or node.output[0]}' stays in float32: {reason}."
                )
                return False
        return True

    def _does_not_fit(self, name: str) -> str:
        values = self._array(name)
        finite = np.abs(values[np.isfinite(values)])
        if finite.size and finite.max() > LARGEST:
            return f"its '{name}' holds {finite.max():g}, and float16 ends at {LARGEST:g}"
        if finite.size == 1 and finite.max() > 0 and np.float16(finite.max()) == 0:
            return f"its '{name}' is {finite.max():g}, which is 0 in float16"
        return ""

    # Types

    def _float_tensors(self) -> Iterator[str]:
        single = self.onnx.TensorProto.FLOAT
        for value in (*self.graph.input, *self.graph.value_info, *self.graph.output):
            if value.type.tensor_type.elem_type == single:
                yield value.name
        yield from (v.name for v in self.graph.initializer if v.data_type == single)

    def _half_ports(self, node: Any, names: Any, side: str) -> set[int]:
        """The inputs or outputs of a node that may be float16, by its operator's definition."""
        if node.domain not in {"", "ai.onnx"}:
            return set()
        schema = self.onnx.defs.get_schema(node.op_type, self.opsets.get(node.domain, 1))
        free = {
            each.type_param_str
            for each in schema.type_constraints
            if "tensor(float16)" in each.allowed_type_strs
        }
        formal = list(getattr(schema, side))
        return {
            port
            for port, name in enumerate(names)
            if name in self.floats and formal[min(port, len(formal) - 1)].type_str in free
        }

    # Rewriting

    def _constants_to_initializers(self) -> None:
        for node in [node for node in self.graph.node if node.op_type == "Constant"]:
            if node.attribute[0].name == "value":
                value = self.graph.initializer.add()
                value.CopyFrom(node.attribute[0].t)
                value.name = node.output[0]
                self.graph.node.remove(node)

    def _array(self, name: str) -> Any:
        return self.onnx.numpy_helper.to_array(self.initializers[name])

    def _half_initializer(self, name: str) -> str:
        """The name of the float16 copy of an initializer, made when first asked for."""
        copy = name + self.suffixes[True]
        if copy not in self.initializers:
            with np.errstate(under="ignore"):
                values = self._array(name).astype(np.float16)
            self.initializers[copy] = self.onnx.numpy_helper.from_array(values, copy)
            self.graph.initializer.append(self.initializers[copy])
        return copy

    def _cast(self, name: str, half: bool, casts: dict[tuple[str, bool], str], into: Any) -> str:
        """The name of `name` in the other precision; one Cast serves all who read it."""
        if (name, half) not in casts:
            casts[name, half] = name + self.suffixes[half]
            types = self.onnx.TensorProto
            into.append(
                self.onnx.helper.make_node(
                    "Cast",
                    [name],
                    [casts[name, half]],
                    name=f"cast {casts[name, half]}",
                    to=types.FLOAT16 if half else types.FLOAT,
                )
            )
        return casts[name, half]

    def _restore_outputs(self, nodes: list[Any], halves: set[str]) -> None:
        """Outputs of the graph that became float16 get their name and type back by a Cast."""
        for value in self.graph.output:
            if value.name not in halves:
                continue
            inner = value.name + self.suffixes[True]
            for node in nodes:
                for names in (node.input, node.output):
                    for port, name in enumerate(names):
                        if name == value.name:
                            names[port] = inner
            nodes.append(
                self.onnx.helper.make_node(
                    "Cast", [inner], [value.name], to=self.onnx.TensorProto.FLOAT
                )
            )


def _unused(suffix: str, names: set[str]) -> str:
    """`suffix`, longer where a name already ends with it."""
    while any(name.endswith(suffix) for name in names):
        suffix += "_"
    return suffix
