"""What the parser of TensorRT for RTX takes of quantized graphs, and what it says of the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnxruntime import quantization as tools
from small_nets import SIDE, mobile, noise, quantize

from bas_edge.backends import plan_builder
from bas_edge.backends._tensorrt_build import BuildRequest
from bas_edge.errors import BackendError

pytestmark = pytest.mark.rtx


def build(folder: Path, model: bytes, precision: Any = "int8", **options: Any) -> bytes:
    path = folder / "m.onnx"
    path.write_bytes(model)
    builder = plan_builder("tensorrt_rtx", targets=("sm_86",))
    request = BuildRequest(path, "frames", (SIDE, SIDE, 3), precision=precision, **options)
    return builder.build(request).plan


@pytest.mark.parametrize("batches", [(1, 1, 8), (2, 2, 2)])
@pytest.mark.parametrize("mean", [128.0, 127.5])
def test_graphs_quantized_for_tensorrt_build(
    tmp_path: Path, mean: float, batches: tuple[int, int, int]
) -> None:
    least, best, most = batches
    model = quantize(mobile(mean=mean), "tensorrt", noise(4), correct=True)
    plan = build(tmp_path, model, min_batch=least, opt_batch=best, max_batch=most)
    assert plan[:4] == b"vtrt"


def test_some_layers_in_float_build(tmp_path: Path) -> None:
    keep = ["depthwise", "sum", "stem_clip"]
    assert build(tmp_path, quantize(mobile(), "tensorrt", noise(4), keep=keep))


# What it refuses


def refused(folder: Path, model: bytes, precision: Any = "int8") -> tuple[str, str]:
    with pytest.raises(BackendError) as caught:
        build(folder, model, precision)
    return str(caught.value), str(caught.value.hint)


AGAIN = (
    ": build again from the graph that bas-edge export wrote, with --backend tensorrt_rtx "
    "--precision int8."
)


def test_pixels_as_codes_of_onnxruntime(tmp_path: Path) -> None:
    model = quantize(mobile(), "onnxruntime", noise(4))
    said, hint = refused(tmp_path, model)
    assert "node 0 'planes' (Transpose)" in said
    assert "first input has type UInt8 but must have type Float" in said
    assert hint == "The graph was quantized for ONNX Runtime" + AGAIN


def test_zero_points_of_onnxruntime(tmp_path: Path) -> None:
    said, hint = refused(tmp_path, quantize(mobile(mean=127.5), "onnxruntime", noise(4)))
    assert "'pixels/codes/q' (QuantizeLinear)" in said
    assert "Non-zero zero point is not supported" in said
    assert hint == "The graph was quantized for ONNX Runtime, whose codes have zero points" + AGAIN


Edit = Callable[[onnx.ModelProto, dict[str, onnx.TensorProto]], None]


def edited(edit: Edit) -> bytes:
    model = onnx.load_from_string(quantize(mobile(), "tensorrt", noise(4)))
    edit(model, {each.name: each for each in model.graph.initializer})
    return bytes(model.SerializeToString())


def replace(constant: onnx.TensorProto, value: Any) -> None:
    constant.CopyFrom(numpy_helper.from_array(np.asarray(value), constant.name))


def quantizers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "QuantizeLinear"]


def asymmetric(model: onnx.ModelProto, constants: dict[str, onnx.TensorProto]) -> None:
    for node in quantizers(model):
        replace(constants[node.input[2]], np.int8(3))


def asymmetric_weights(model: onnx.ModelProto, constants: dict[str, onnx.TensorProto]) -> None:
    zeros = constants["stem.w/zeros"]
    replace(zeros, numpy_helper.to_array(zeros) + np.int8(1))


def no_scale(model: onnx.ModelProto, constants: dict[str, onnx.TensorProto]) -> None:
    replace(constants[quantizers(model)[0].input[1]], np.float32(0))


def half_scales(model: onnx.ModelProto, constants: dict[str, onnx.TensorProto]) -> None:
    model.opset_import[0].version = 19
    for node in quantizers(model):
        scale = constants[node.input[1]]
        replace(scale, numpy_helper.to_array(scale).astype(np.float16))


def integer_bias(model: onnx.ModelProto, constants: dict[str, onnx.TensorProto]) -> None:
    for name, value in {"bq": np.arange(8, dtype=np.int32), "bs": np.float32(0.1)}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    stem = next(node for node in model.graph.node if node.name == "stem")
    stem.input[2] = "bias"
    restore = helper.make_node("DequantizeLinear", ["bq", "bs"], ["bias"], name="the bias")
    model.graph.node.insert(0, restore)


REFUSED = [
    (asymmetric, "Non-zero zero point is not supported", "whose codes have zero points"),
    (asymmetric_weights, "'stem.w/restored/dq' (DequantizeLinear)", "codes have zero points"),
    (no_scale, "Scale coefficients must all be positive", "scales that TensorRT does not take"),
    (half_scales, "`input` type is Half but `kernel`", "mixes float16 and float32 scales"),
    (integer_bias, "'the bias' (DequantizeLinear)", "whose biases are int32"),
]


@pytest.mark.parametrize(
    ("edit", "message", "fault"), REFUSED, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_refused_graph_names_its_fault(
    tmp_path: Path, edit: Edit, message: str, fault: str
) -> None:
    said, hint = refused(tmp_path, edited(edit))
    assert message in said
    assert hint.endswith(fault + AGAIN)


class _Frames:
    def __init__(self) -> None:
        self.batches = iter([{"frames": noise(4)}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.batches, None)


FOREIGN: list[tuple[str, dict[str, Any], str]] = [
    ("pairs", {}, "whose biases are int32"),
    ("operators", {"quant_format": tools.QuantFormat.QOperator}, "codes have zero points"),
    ("dynamic", {}, "to operators that TensorRT has not"),
]


@pytest.mark.parametrize(("form", "options", "fault"), FOREIGN, ids=[each[0] for each in FOREIGN])
def test_graphs_quantized_by_other_tools(
    tmp_path: Path, form: str, options: dict[str, Any], fault: str
) -> None:
    """Whose metadata knows nothing of it, so that it passes for a float32 graph."""
    source, target = tmp_path / "float.onnx", tmp_path / "static.onnx"
    source.write_bytes(mobile())
    if form == "dynamic":
        tools.quantize_dynamic(source, target)
    else:
        tools.quantize_static(source, target, _Frames(), per_channel=True, **options)
    _, hint = refused(tmp_path, target.read_bytes(), "fp32")
    assert hint.endswith(fault + AGAIN)
