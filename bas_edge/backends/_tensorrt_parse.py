"""From an ONNX file to a TensorRT network, and from parser errors to sentences."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bas_edge.backends._tensorrt_log import LogLines, library
from bas_edge.errors import BackendError

__all__ = ["HINTS", "make_network", "network_flags", "parse_graph"]


@dataclass(frozen=True, slots=True)
class _Hint:
    """What to do about parser errors that match `pattern`."""

    pattern: re.Pattern[str]
    text: str


def _hint(pattern: str, text: str) -> _Hint:
    return _Hint(re.compile(pattern, re.IGNORECASE | re.DOTALL), text)


def _quantized(pattern: str, fault: str) -> _Hint:
    return _hint(
        pattern,
        f"{fault}: build again from the graph that bas-edge export wrote, with --backend {{}} "
        "--precision int8.",
    )


_UINT8 = r"has type UInt8 but must have type|\bUINT8\b.*(not supported|unsupported|must be)"
_FOR_ONNXRUNTIME = _quantized(_UINT8, "The graph was quantized for ONNX Runtime")

# In this order; the first that matches counts. Texts of TensorRT 8.6 to 11.4 and RTX 1.7.
HINTS = (
    _quantized(
        r"has type Int32 but must have type.*Int8|DequantizeLinear.*int32",
        "The graph was quantized for ONNX Runtime, whose biases are int32",
    ),
    _quantized(
        r"symmetric quantization|zeroPt must be all zeros|ShiftIsAllZeros|"
        r"non-?zero zero.?point|zero.?point.*(zero|symmetric)",
        "The graph was quantized for ONNX Runtime, whose codes have zero points",
    ),
    _quantized(
        r"\((DynamicQuantizeLinear|\w+Integer|QLinear\w+|QGemm)\)",
        "The graph was quantized to operators that TensorRT has not",
    ),
    _quantized(
        r"scale coefficients must all be positive|failed to import initializer",
        "The graph was quantized with codes or scales that TensorRT does not take",
    ),
    _quantized(
        r"input. and .kernel. must be of same type", "The graph mixes float16 and float32 scales"
    ),
    _hint(
        _UINT8,
        "A uint8 input must go into a Cast first: export the model again with bas-edge export.",
    ),
    _hint(
        r"K as an initializer|topk.*initializer",
        "This TensorRT needs a constant K in TopK: export again with --k, or with --maps all.",
    ),
    _hint(
        r"inputs\.at\(1\)\.is_weights|kernel weights.*(constant|initializer)|"
        r"must be an initializer",
        "This TensorRT takes no weights that the graph computes: export again with --maps all.",
    ),
    _hint(
        r"plugin not found|no importer registered|unsupported op|not supported operator|"
        r"no op registered",
        "This TensorRT has no such operator: export again with bas-edge export, or install a "
        "newer TensorRT.",
    ),
    _hint(
        r"unsupported onnx (opset|data type|ir)|opset version",
        "This TensorRT is older than the graph: install a newer TensorRT, or export again.",
    ),
)
_GENERIC_HINT = (
    "Export the model again with bas-edge export; if that does not help, build with "
    "--backend onnxruntime and report the message."
)
_SHOWN = 4


def network_flags(trt: Any) -> int:
    """8.6: EXPLICIT_BATCH. 10: STRONGLY_TYPED. 11 and RTX: none, both are always on."""
    flags = trt.NetworkDefinitionCreationFlag
    if not hasattr(flags, "EXPLICIT_BATCH"):
        return 0
    chosen = flags.STRONGLY_TYPED if hasattr(flags, "STRONGLY_TYPED") else flags.EXPLICIT_BATCH
    return 1 << int(chosen)


def make_network(trt: Any, builder: Any) -> Any:
    """An empty network whose types are those of the graph, wherever TensorRT knows how."""
    return builder.create_network(network_flags(trt))


def parse_graph(
    trt: Any,
    network: Any,
    logger: Any,
    model_path: str | os.PathLike[str],
    *,
    input_name: str,
    is_quantized: bool = False,
    lines: LogLines,
) -> Any:
    """Fill `network` from an ONNX file. Returns the parser, which owns the weights.

    `is_quantized` says what uint8 tensors in it mean: codes, or an input that is not cast.

    Raises:
        BackendError: The parser refuses the graph (each refused node is named, with what to do),
            or the result does not have exactly the input `input_name`.
    """
    parser = trt.OnnxParser(network, logger)
    path = os.fspath(model_path)
    if not parser.parse_from_file(path):
        hints = (_FOR_ONNXRUNTIME, *HINTS) if is_quantized else HINTS
        raise _refusal(trt, parser, path, hints, lines)
    names = [network.get_input(i).name for i in range(network.num_inputs)]
    if names != [input_name]:
        raise BackendError(
            f"{library(trt)} reads the inputs {', '.join(names) or 'none'} in {path}; "
            f"there must be exactly '{input_name}'.",
            hint=_GENERIC_HINT,
        )
    return parser


def _refusal(
    trt: Any, parser: Any, path: str, hints: Sequence[_Hint], lines: LogLines
) -> BackendError:
    who = library(trt)
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    if not errors:
        return BackendError(f"{who} cannot read {path}.{lines.attached()}", hint=_GENERIC_HINT)
    said = "\n".join(f"  {_sentence(error)}" for error in errors[:_SHOWN])
    if len(errors) > _SHOWN:
        said += f"\n  … and {len(errors) - _SHOWN} more"
    everything = "\n".join(f"{_sentence(error)} {error.desc()}" for error in errors)
    texts = (hint.text for hint in hints if hint.pattern.search(everything))
    hint = next(texts, _GENERIC_HINT).format(trt.__name__)
    return BackendError(f"{who} refuses {path}:\n{said}", hint=hint)


def _sentence(error: Any) -> str:
    """Node, operator and reason. TensorRT 8.6 knows a node's number only."""
    name = str(error.node_name()) if hasattr(error, "node_name") else ""
    operator = str(error.node_operator()) if hasattr(error, "node_operator") else ""
    place = f"node {error.node()}" + (f" '{name}'" if name else "")
    reason = next((line for line in _reasons(str(error.desc()))), "no reason given")
    reason = "not known to it" if reason == "false" else reason  # what it says of operators
    return f"{place}{f' ({operator})' if operator else ''}: {reason}"


def _reasons(text: str) -> list[str]:
    """The lines of a description that say something, the most telling first."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line and "cudaError 35" not in line]
    return [*telling, *lines]
