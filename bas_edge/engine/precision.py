"""Float16 made in the graph itself, so that every runtime computes the same thing.

Kept in float32, because rounding there costs boxes or overflows: the regions of
`bas_edge.engine.float_regions`, and layers whose constants float16 cannot hold, which are
reported. Inputs and outputs keep their types.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bas_edge.engine.float_regions import MAP_OUTPUTS, float_regions
from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.errors import InputError

__all__ = ["LARGEST", "HalfGraph", "to_half"]

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
        tensors: What holds float16 now, by the names of the float32 graph, and the node that
            computes it.
        readers: What is read as float16, by the same names, and the nodes that read it so. What
            is here and not in `tensors` is cast for them, or is a constant.
        notes: A sentence for each layer that was kept because of its constants or values.
        in_float: Nodes that were kept because of their values.
    """

    model: bytes
    half: int
    kept: int
    tensors: dict[str, str]
    readers: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    in_float: tuple[str, ...] = ()


def to_half(
    path: Path,
    *,
    outputs: Iterable[str] = MAP_OUTPUTS,
    keep: Collection[str] = (),
    notes: Iterable[str] = (),
) -> HalfGraph:
    """Make the float16 twin of an exported float32 graph.

    Args:
        path: The ONNX file.
        outputs: Names that its map output may have.
        keep: Further nodes that stay in float32.
        notes: Sentences about these, for the result.

    Raises:
        MissingExtraError: The `[build]` extra is not installed.
        EngineError: The file cannot be read, or the result does not pass onnx's checker.
        InputError: The graph is quantized, or has graphs inside its nodes.
    """
    graph = OnnxGraph.read(path, purpose="Precision fp16")
    surgery = _Surgery(graph, outputs, keep)
    surgery.convert()
    half = len(surgery.half)
    return HalfGraph(
        model=graph.serialize(what=f"The float16 twin of {path}"),
        half=half,
        kept=surgery.count - half,
        tensors={name: surgery.producers[name] for name in sorted(surgery.halves)},
        readers={name: tuple(surgery.readers[name]) for name in sorted(surgery.readers)},
        notes=(*notes, *surgery.notes),
        in_float=tuple(keep),
    )


class _Surgery:
    """One conversion."""

    def __init__(self, source: OnnxGraph, outputs: Iterable[str], keep: Collection[str]) -> None:
        self.source, self.onnx, self.graph = source, source.onnx, source.model.graph
        self.notes: list[str] = []
        names = {name for node in source.nodes for name in (*node.input, *node.output)}
        self.suffixes = {half: _unused(text, names) for half, text in _SUFFIXES.items()}
        self.halves: set[str] = set()  # tensors that are float16 now
        self.readers: dict[str, list[str]] = {}  # by tensor: the nodes that read it as float16
        self.opsets = {each.domain: each.version for each in source.model.opset_import}
        self.nodes = source.nodes
        self.count = len(self.nodes)
        self.initializers = {value.name: value for value in self.graph.initializer}
        self.producers = {name: node.name for node in self.nodes for name in node.output}
        if any(node.op_type in _QUANTIZED for node in self.nodes):
            raise InputError(
                "The graph is quantized; precision fp16 starts from a float32 graph.",
                hint="Give the graph that bas-edge export wrote.",
            )
        source.refuse_subgraphs("precision fp16")
        kept = float_regions(source, outputs) | set(keep)
        self.half = {
            node.name for node in self.nodes if node.name not in kept and self._can_be_half(node)
        }

    def convert(self) -> None:
        """Rewrite the graph in place."""
        is_float = self.source.is_float
        del self.graph.value_info[:]  # the old types
        rewritten: list[Any] = []
        casts: dict[tuple[str, bool], str] = {}
        halves = self.halves
        for node in self.nodes:
            is_half = node.name in self.half
            half_inputs = self._half_ports(node, node.input, "inputs") if is_half else set()
            for port, name in enumerate(node.input):
                if not is_float(name):
                    continue
                if port in half_inputs:
                    self.readers.setdefault(name, []).append(node.name)
                if name in self.initializers:
                    if port in half_inputs:
                        node.input[port] = self._half_initializer(name)
                elif (name in halves) != (port in half_inputs):
                    node.input[port] = self._cast(name, port in half_inputs, casts, rewritten)
            if is_half:
                ports = self._half_ports(node, node.output, "outputs")
                halves |= {node.output[port] for port in ports if is_float(node.output[port])}
            rewritten.append(node)
        self._restore_outputs(rewritten, halves)
        self.source.set_nodes(rewritten)

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
                self.notes.append(f"{node.op_type} '{node.name}' stays in float32: {reason}.")
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
            if self.source.is_float(name) and formal[min(port, len(formal) - 1)].type_str in free
        }

    # Rewriting

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
