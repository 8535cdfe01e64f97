"""An ONNX graph in memory: read, looked at, rewritten. The only file of this package that
imports onnx; what works on a graph gets it as `OnnxGraph`, and the module as its `onnx`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge._require import require
from bas_edge.errors import EngineError, InputError

__all__ = ["OnnxGraph", "with_outputs"]

_NUMBERS = {  # attributes of Constant that are no tensors
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


class OnnxGraph:
    """One graph, whose nodes are known by their names: each has one, and no two share it.

    Constants are initializers, wherever the file had them. Lookups see the graph as it is after
    `refresh`, which every rewriting method here calls; code that rewrites nodes itself calls it.

    Attributes:
        onnx: The module.
        model: Its ModelProto.
    """

    def __init__(self, onnx: Any, model: Any) -> None:
        self.onnx, self.model = onnx, model
        self._constants_to_initializers()
        self._name_nodes()
        self.refresh()

    @classmethod
    def read(cls, source: Path | bytes, *, purpose: str = "Precision fp16 or int8") -> OnnxGraph:
        """Load a file, or its content, with the shapes of all tensors inferred.

        Raises:
            MissingExtraError: The `[build]` extra is not installed.
            EngineError: It cannot be read as an ONNX graph.
        """
        onnx = require("onnx", extra="build", purpose=purpose)
        name = "The graph" if isinstance(source, bytes) else str(source)
        try:
            loaded = onnx.load_from_string(source) if isinstance(source, bytes) else None
            model = onnx.load(source) if loaded is None else loaded
            inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except Exception as error:  # onnx and protobuf share no base below Exception
            raise EngineError(
                f"{name} cannot be read as an ONNX graph: {error}",
                hint="Export it again: bas-edge export CHECKPOINT -o model.onnx",
            ) from error
        return cls(onnx, inferred)

    def copy(self) -> OnnxGraph:
        """Another one, so that rewriting it leaves this as it is."""
        model = self.onnx.ModelProto()
        model.CopyFrom(self.model)
        return OnnxGraph(self.onnx, model)

    def serialize(self, *, what: str = "The graph") -> bytes:
        """The content of an ONNX file.

        Raises:
            EngineError: onnx's own checker refuses the graph.
        """
        try:
            self.onnx.checker.check_model(self.model, full_check=True)
        except Exception as error:  # as above
            raise EngineError(
                f"{what} is no valid ONNX graph: {error}",
                hint="Build with --precision fp32, and report the message.",
            ) from error
        return bytes(self.model.SerializeToString())

    def fingerprint(self) -> tuple[bytes, bytes]:
        """The graph without its weights and its metadata, and its weights; both as bytes."""
        bare = self.onnx.ModelProto()
        bare.CopyFrom(self.model)
        weights = [each.SerializeToString(deterministic=True) for each in bare.graph.initializer]
        del bare.graph.initializer[:]
        del bare.metadata_props[:]
        return bare.SerializeToString(deterministic=True), b"".join(weights)

    # Looking

    @property
    def nodes(self) -> list[Any]:
        """In an order in which they can run."""
        return list(self.model.graph.node)

    @property
    def outputs(self) -> list[str]:
        return [value.name for value in self.model.graph.output]

    def node(self, name: str) -> Any:
        return self._by_name[name]

    def producer(self, tensor: str) -> Any | None:
        """The node that computes a tensor; None for inputs and constants."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> list[Any]:
        """The nodes that read a tensor, each once."""
        return self._consumers.get(tensor, [])

    def constant(self, tensor: str) -> NDArray[Any] | None:
        """The value of a constant; None for everything else."""
        found = self._constants.get(tensor)
        return None if found is None else np.array(self.onnx.numpy_helper.to_array(found))

    def weights(self, node: Any, port: int = 1) -> NDArray[Any]:
        """The constant that a node reads at `port`."""
        value = self.constant(node.input[port])
        if value is None:
            raise KeyError(f"{node.name} reads no constant at {port}")
        return value

    def activation_inputs(self, node: Any) -> list[str]:
        """The tensors a node reads that are computed, or come from outside."""
        return [name for name in node.input if name and name not in self._constants]

    def attribute(self, node: Any, name: str, default: Any = None) -> Any:
        for each in node.attribute:
            if each.name == name:
                return self.onnx.helper.get_attribute_value(each)
        return default

    def shape(self, tensor: str) -> tuple[int | None, ...] | None:
        """None in it is a dimension that is not fixed; None itself is an unknown shape."""
        return self._shapes.get(tensor)

    def is_float(self, tensor: str) -> bool:
        """Whether a tensor is float32."""
        return tensor in self._floats

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        versions = [e.version for e in self.model.opset_import if e.domain in ("", "ai.onnx")]
        return int(versions[0]) if versions else 1

    # Rewriting

    def set_constant(self, tensor: str, value: NDArray[Any]) -> None:
        """Replace the value of a constant for all who read it."""
        self._constants[tensor].CopyFrom(self.onnx.numpy_helper.from_array(value, tensor))

    def own_constant(self, node: Any, port: int) -> str:
        """The constant at `port`, copied first where another node reads it too."""
        name = str(node.input[port])
        readers = sum(list(other.input).count(name) for other in self.consumers(name))
        if readers > 1:
            node.input[port] = self.add_constant(name, self.weights(node, port))
            self.refresh()
        return str(node.input[port])

    def add_constant(self, label: str, value: NDArray[Any]) -> str:
        """A new constant; its name is `label`, longer where that is taken."""
        name = self.unused(label)
        initializer = self.model.graph.initializer.add()
        initializer.CopyFrom(self.onnx.numpy_helper.from_array(np.asarray(value), name))
        self._constants[name] = initializer
        return name

    def unused(self, label: str) -> str:
        """`label`, longer where a tensor or a node has that name."""
        taken, name = self._names, label
        count = 1
        while name in taken:
            count += 1
            name = f"{label}_{count}"
        taken.add(name)
        return name

    def set_nodes(self, nodes: Iterable[Any]) -> None:
        """Replace all nodes; constants that nobody reads any more go with them."""
        kept = list(nodes)
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)
        used = {name for node in kept for name in node.input} | set(self.outputs)
        constants = [each for each in self.model.graph.initializer if each.name in used]
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(constants)
        self.refresh()

    def refresh(self) -> None:
        """Look at the nodes again."""
        graph = self.model.graph
        self._by_name = {node.name: node for node in graph.node}
        self._producers = {name: node for node in graph.node for name in node.output if name}
        self._consumers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self._consumers.setdefault(name, []).append(node)
        self._constants = {value.name: value for value in graph.initializer}
        self._names = set(self._by_name) | set(self._producers) | set(self._consumers)
        self._names |= set(self._constants)
        single = self.onnx.TensorProto.FLOAT
        values = (*graph.input, *graph.value_info, *graph.output)
        self._floats = {v.name for v in values if v.type.tensor_type.elem_type == single}
        self._floats |= {v.name for v in graph.initializer if v.data_type == single}
        self._shapes = {
            value.name: tuple(
                dim.dim_value if dim.HasField("dim_value") else None
                for dim in value.type.tensor_type.shape.dim
            )
            for value in values
            if value.type.tensor_type.HasField("shape")
        }
        self._shapes.update({each.name: tuple(each.dims) for each in graph.initializer})

    def refuse_subgraphs(self, purpose: str) -> None:
        """Raise InputError where a node holds a graph of its own."""
        for node in self.model.graph.node:
            if any(each.HasField("g") for each in node.attribute):
                raise InputError(
                    f"{node.op_type} '{node.name}' holds a graph of its own; {purpose} cannot "
                    "look inside.",
                    hint="Give the graph that bas-edge export wrote, or build with "
                    "--precision fp32.",
                )

    def _constants_to_initializers(self) -> None:
        graph = self.model.graph
        outputs = set(self.outputs)
        for node in [node for node in graph.node if node.op_type == "Constant"]:
            kind, given = node.attribute[0].name, node.attribute[0]
            if node.output[0] in outputs or kind not in {"value", *_NUMBERS}:
                continue
            value = graph.initializer.add()
            if kind == "value":
                value.CopyFrom(given.t)
            else:
                numbers = np.array(self.onnx.helper.get_attribute_value(given), _NUMBERS[kind])
                value.CopyFrom(self.onnx.numpy_helper.from_array(numbers))
            value.name = node.output[0]
            graph.node.remove(node)

    def _name_nodes(self) -> None:
        seen: set[str] = set()
        for node in self.model.graph.node:
            label = node.name or node.output[0]
            name, count = label, 1
            while name in seen:
                count += 1
                name = f"{label}_{count}"
            node.name = name
            seen.add(name)


def with_outputs(source: Path | bytes, names: Iterable[str]) -> bytes:
    """The graph with further tensors as outputs, so that their values can be seen.

    Raises:
        MissingExtraError, EngineError: See `OnnxGraph.read`.
    """
    model = OnnxGraph.read(source).model
    wanted = set(names) - {value.name for value in model.graph.output}
    model.graph.output.extend(v for v in model.graph.value_info if v.name in wanted)
    return bytes(model.SerializeToString())
