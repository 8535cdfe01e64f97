"""PyTorch module -> ONNX graph, by watching one forward pass.

The module runs once on an example batch. Every torch function that touches a value computed
from the input is written down as the ONNX node of the same meaning; everything else (shapes,
paddings, normalisation constants) is already a number by then and becomes a constant.
Python control flow therefore needs no tracing rules, node names are the module's own
(`trunk.blocks.3.dw.conv`), and only torch's stable public API is used.

An operation with no rule here or in capture_rules.py is refused by name: add one function there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bas_edge.errors import InputError
from bas_edge_training.capture_rules import FUNCTIONS, Rule
from bas_edge_training.models import Seam

__all__ = ["BATCH", "IR_VERSION", "OPSET", "Recorder", "capture"]

OPSET = 17  # TensorRT 8.6 reads up to 17; nothing here needs more
IR_VERSION = 8  # the one that goes with opset 17: ONNX Runtime 1.17 refuses newer
_ALMOST_ZERO = 1e-30
BATCH = "N"  # name of the dynamic axis


def capture(
    function: Callable[[Tensor], tuple[Tensor, ...]],
    example: Tensor,
    *,
    module: nn.Module,
    input_name: str,
    output_names: Sequence[str],
    seams: dict[str, str] | None = None,
) -> onnx.ModelProto:
    """Write `function(example)` as an ONNX model whose first axis is dynamic.

    Args:
        function: Computes the outputs, the batch on axis 0 of each, with `module`'s weights.
        example: A batch of at least two, so that no batch axis is mistaken for a 1.
        module: In eval mode; its layers and parameters name the nodes and initializers.
        input_name: Name of the graph's only input.
        output_names: One per output.
        seams: Receives the graph's name of what passes through each `Seam`, by the name of that
            module.

    Raises:
        InputError: A torch function was used that has no rule here.
    """
    recorder = Recorder(module, example, input_name)
    handles = [
        hook
        for name, child in module.named_modules()
        for hook in (
            child.register_forward_pre_hook(recorder.entering(name)),
            child.register_forward_hook(recorder.leaving(name)),
        )
    ]
    try:
        with torch.no_grad(), recorder:
            outputs = function(example)
    finally:
        for hook in handles:
            hook.remove()
    if seams is not None:
        seams |= recorder.seams
    return recorder.model(output_names, outputs)


class Recorder(TorchFunctionMode):
    """The graph so far, and which live tensor is which of its values."""

    def __init__(self, module: nn.Module, example: Tensor, input_name: str) -> None:
        super().__init__()
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._input = (input_name, example)
        self._names: dict[int, str] = {id(example): input_name}
        self._alive: list[Tensor] = [example]  # an id must not be reused while it is a key
        tensors = [*module.named_parameters(), *module.named_buffers()]
        self._parameters = {id(tensor): name for name, tensor in tensors}
        self._scopes: list[str] = []
        self._taken: set[str] = set()
        self.seams: dict[str, str] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        result = func(*args, **kwargs)
        computed = [part for part in _flat((result,), {}) if isinstance(part, Tensor)]
        if not computed or not any(self._known(a) for a in _flat(args, kwargs)):
            return result
        rule = _RULES.get(func)
        if rule is None:
            name = getattr(func, "__name__", str(func))
            raise InputError(
                f"The export knows no ONNX form of torch's '{name}', used in "
                f"'{self._scope() or 'the model'}'.",
                hint="Add a rule for it in bas_edge_training/capture_rules.py.",
            )
        names = rule(self, *args, **kwargs)
        names = names if isinstance(names, list) else [names]
        for tensor, name in zip(computed, names, strict=True):
            self._names[id(tensor)] = name
        self._alive += computed
        return result

    def entering(self, name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self._scopes.append(name)

        return hook

    def leaving(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
            self._scopes.pop()
            if isinstance(module, Seam):
                self.seams[name] = self._names[id(output)]

        return hook

    def value(self, tensor: Any) -> str:
        """The graph's name of a tensor or number; what is not computed becomes a constant."""
        if isinstance(tensor, Tensor):
            if id(tensor) in self._names:
                return self._names[id(tensor)]
            name = self._parameters.get(id(tensor)) or self._unique("constant")
            self.constants[name] = tensor.detach().cpu().numpy()
            self._names[id(tensor)] = name
            self._alive.append(tensor)
            return name
        return self.scalar(tensor)

    def scalar(self, number: float) -> str:
        """A float32 constant, one for the whole graph."""
        name = f"{float(number):g}"
        name = name if float(name) == number else repr(float(number))
        self.constants[name] = np.asarray(number, np.float32)
        return name

    def constant(self, label: str, array: NDArray[Any]) -> str:
        name = self._unique(label)
        self.constants[name] = array
        return name

    def node(self, op: str, inputs: Sequence[str], *, name: str = "", **attributes: Any) -> str:
        """Append one node; returns the name of its output. `name` defaults to scope/op."""
        name = name if name and name not in self._taken else self._unique(name or op.lower())
        self._taken.add(name)
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}:0"], name, **attributes))
        return f"{name}:0"

    def layer(self, weight: Any) -> str:
        """Node name of a layer: that of the module which owns the weight."""
        return self._parameters.get(id(weight), "").rpartition(".")[0]

    def model(self, names: Sequence[str], outputs: Sequence[Tensor]) -> onnx.ModelProto:
        rename = dict(zip((self._names[id(o)] for o in outputs), names, strict=True))
        for node in self.nodes:
            node.input[:] = [rename.get(value, value) for value in node.input]
            node.output[:] = [rename.get(value, value) for value in node.output]
        graph = helper.make_graph(
            self.nodes,
            "bas_edge",
            [self._describe(*self._input)],
            [self._describe(name, output) for name, output in zip(names, outputs, strict=True)],
            [
                numpy_helper.from_array(np.asarray(array, order="C"), name)
                for name, array in self.constants.items()
            ],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def _describe(self, name: str, tensor: Tensor) -> onnx.ValueInfoProto:
        kind = {torch.uint8: TensorProto.UINT8, torch.float32: TensorProto.FLOAT}[tensor.dtype]
        return helper.make_tensor_value_info(name, kind, [BATCH, *tensor.shape[1:]])

    def _known(self, value: Any) -> bool:
        name = self._names.get(id(value)) if isinstance(value, Tensor) else None
        return name is not None and name not in self.constants

    def _scope(self) -> str:
        return self._scopes[-1] if self._scopes else ""

    def _unique(self, label: str) -> str:
        stem = label if "/" in label or not self._scope() else f"{self._scope()}/{label}"
        name, count = stem, 1
        while name in self._taken:
            count += 1
            name = f"{stem}_{count}"
        self._taken.add(name)
        return name


def _flat(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments, with lists and tuples (torch.cat takes one) opened once."""
    values = [*args, *kwargs.values()]
    return [v for value in values for v in (value if isinstance(value, (list, tuple)) else [value])]


# Rules: (recorder, *torch's arguments) -> name of the ONNX value.


def _conv2d(
    graph: Recorder, x: Tensor, weight: Tensor, bias: Tensor | None = None,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> str:  # fmt: skip
    if isinstance(padding, str):
        raise InputError(f"The export does not know the padding '{padding}' of a convolution.")
    inputs = [graph.value(x), graph.value(weight)]
    if bias is not None:
        inputs.append(graph.value(bias))
    rows, columns = _pair(padding)
    return graph.node(
        "Conv",
        inputs,
        name=graph.layer(weight),
        kernel_shape=list(weight.shape[2:]),
        strides=_pair(stride),
        pads=[rows, columns, rows, columns],
        dilations=_pair(dilation),
        group=groups,
    )


def _batch_norm(
    graph: Recorder, x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> str:  # fmt: skip
    del momentum
    if training:
        raise ValueError("the module is in training mode: call eval() before capture()")
    scale = torch.ones_like(mean) if weight is None else weight
    offset = torch.zeros_like(mean) if bias is None else bias
    inputs = [graph.value(t) for t in (x, scale, offset, mean, var)]
    return graph.node("BatchNormalization", inputs, name=graph.layer(mean), epsilon=eps)


def _pad(
    graph: Recorder, x: Tensor, pad: Sequence[int], mode: str = "constant",
    value: float | None = None,
) -> str:  # fmt: skip
    if mode != "constant":
        raise InputError(f"The export knows only padding with a number, not '{mode}'.")
    before, after = [0] * x.dim(), [0] * x.dim()
    for axis, (low, high) in enumerate(zip(pad[::2], pad[1::2], strict=True), 1):
        before[-axis], after[-axis] = low, high
    name = graph.value(x)
    for axis, (low, high) in enumerate(zip(before, after, strict=True)):
        if low < 0 or high < 0:  # negative padding crops
            ends = high if high < 0 else np.iinfo(np.int64).max
            bounds = (("starts", max(-low, 0)), ("ends", ends), ("axes", axis))
            limits = [graph.constant(label, np.array([v], np.int64)) for label, v in bounds]
            name = graph.node("Slice", [name, *limits])
    pads = np.array([max(p, 0) for p in before + after], np.int64)
    filling = [graph.scalar(value)] if value else []  # zeros need none
    inputs = [name, graph.constant("pads", pads), *filling]
    return graph.node("Pad", inputs) if pads.any() else name


def _cat(graph: Recorder, tensors: Sequence[Tensor], dim: int = 0) -> str:
    return graph.node("Concat", [graph.value(t) for t in tensors], axis=dim)


def _avg_pool2d(
    graph: Recorder, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> str:  # fmt: skip
    kernel, pads = _pair(kernel_size), _pair(padding) * 2
    strides = _pair(stride or kernel)
    rooms = [side + 2 * pad - k for side, pad, k in zip(x.shape[-2:], pads, kernel, strict=False)]
    rounded = ceil_mode and any(room % s for room, s in zip(rooms, strides, strict=True))
    if rounded or divisor_override is not None:
        raise InputError("The export knows no average pooling with rounding up or a divisor.")
    padded: dict[str, Any] = {"pads": pads, "count_include_pad": int(count_include_pad)}
    padded = padded if any(pads) else {}
    value = graph.value(x)
    return graph.node("AveragePool", [value], kernel_shape=kernel, strides=strides, **padded)


def _max_pool2d(
    graph: Recorder, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
    dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False,
) -> str:  # fmt: skip
    if return_indices:
        raise InputError("The export knows no pooling that says where its maxima were.")
    value = graph.value(x)
    for node in graph.nodes:
        if node.op_type == "Pad" and node.output[0] == value and len(node.input) == 2:
            # ONNX Runtime makes zeros before a MaxPool its padding, which is no value at all.
            node.input.append(graph.scalar(_ALMOST_ZERO))
    kernel, starts = _pair(kernel_size), _pair(padding)
    strides, ends = _pair(stride or kernel), _pair(padding)
    if _pair(dilation) != [1, 1]:
        raise InputError("The export knows no dilated pooling.")
    if ceil_mode:  # said by padding: runtimes disagree about what rounding up means
        for axis, side in enumerate(x.shape[-2:]):
            room = side + 2 * starts[axis] - kernel[axis]
            windows = -(-room // strides[axis])
            if windows * strides[axis] >= side + starts[axis]:
                windows -= 1  # a window of padding alone
            ends[axis] += max(0, windows * strides[axis] - room)
    return graph.node(
        "MaxPool", [value], kernel_shape=kernel, strides=strides, pads=[*starts, *ends]
    )


def _relu6(graph: Recorder, x: Tensor, *_: Any, **__: Any) -> str:
    return graph.node("Clip", [graph.value(x), graph.scalar(0), graph.scalar(6)])


def _mean(graph: Recorder, x: Tensor, dim: Any = None, keepdim: bool = False) -> str:
    if dim is None:
        raise InputError("The export knows no mean over everything, the batch among it.")
    axes = sorted(d % x.dim() for d in (dim if isinstance(dim, (list, tuple)) else [dim]))
    if keepdim and x.dim() == 4 and axes == [2, 3]:
        return graph.node("GlobalAveragePool", [graph.value(x)])
    return graph.node("ReduceMean", [graph.value(x)], axes=axes, keepdims=int(keepdim))


def _permute(graph: Recorder, x: Tensor, *dims: Any) -> str:
    order = dims[0] if isinstance(dims[0], (list, tuple)) else dims
    return graph.node("Transpose", [graph.value(x)], perm=list(order))


def _float(graph: Recorder, x: Tensor) -> str:
    if x.dtype == torch.float32:
        return graph.value(x)
    return graph.node("Cast", [graph.value(x)], to=TensorProto.FLOAT)


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


_RULES: dict[Any, Rule] = {
    **FUNCTIONS,
    F.conv2d: _conv2d,
    F.batch_norm: _batch_norm,
    F.pad: _pad,
    F.avg_pool2d: _avg_pool2d,
    F.max_pool2d: _max_pool2d,
    torch.max_pool2d: _max_pool2d,
    F.relu6: _relu6,
    torch.cat: _cat,
    Tensor.mean: _mean,
    torch.mean: _mean,
    Tensor.permute: _permute,
    torch.permute: _permute,
    Tensor.float: _float,
}
