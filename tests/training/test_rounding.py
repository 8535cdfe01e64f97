from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bas_edge.quantization.codes import Codes, Flavour, weight_codes
from bas_edge_training.rounding import TensorRounding, WeightRounding


def onnx_rounded(
    values: NDArray[np.float32], codes: Codes, flavour: Flavour
) -> NDArray[np.float32]:
    """Through QuantizeLinear and DequantizeLinear of ONNX Runtime."""
    kind = np.int8 if flavour == "tensorrt" else np.uint8
    constants = {"scale": np.asarray(codes.scale), "zero": np.array(codes.zero, kind)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy"]
    initializers = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "pair", ends[:1], ends[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(["y"], {"x": values})[0]
    return found


@pytest.mark.parametrize(
    ("codes", "flavour"),
    [
        (Codes(np.float32(0.02)), "tensorrt"),
        (Codes(np.float32(1 / 128)), "tensorrt"),
        (Codes(np.float32(6 / 255)), "onnxruntime"),
        (Codes(np.float32(0.013), 117), "onnxruntime"),
    ],
)
def test_tensors_are_rounded_bit_by_bit_as_onnx_runtime_does(
    codes: Codes, flavour: Flavour
) -> None:
    """Random values; every tie between two codes; and far beyond both ends."""
    random = np.random.default_rng(3).normal(0, 2, 20000).astype(np.float32)
    ties = (np.arange(-300, 300) + 0.5).astype(np.float32) * codes.scale
    values = np.concatenate([random, ties, np.array([-1e9, 1e9, 0, -0.0], np.float32)])
    got = TensorRounding.of(codes, flavour)(torch.from_numpy(values)).numpy()
    np.testing.assert_array_equal(got, onnx_rounded(values, codes, flavour))


def test_gradients_pass_inside_the_range_only() -> None:
    x = torch.tensor([-2.0, -0.3, 0.26, 0.9, 1.1, 30.0], requires_grad=True)
    rounding = TensorRounding(scale=0.5, lowest=-1, highest=2)  # -0.5 to 1
    y = rounding(x)
    assert y.tolist() == [-0.5, -0.5, 0.5, 1.0, 1.0, 1.0]
    (y * torch.arange(1.0, 7.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 3, 4, 0, 0]


def test_half_precision_keeps_its_type_and_rounds_in_float32() -> None:
    x = torch.tensor([0.30078125, 100.0], dtype=torch.bfloat16)
    y = TensorRounding(scale=0.25, lowest=0, highest=255)(x)
    assert y.dtype == torch.bfloat16
    assert y.tolist() == [0.25, 63.75]


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (7, 1, 3, 3), (4, 6, 1, 1)])
def test_weights_are_rounded_to_the_codes_of_the_int8_graph(shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(1).normal(0, 0.1, shape).astype(np.float32)
    weights[1] = 0  # a filter that has died
    tensor = torch.from_numpy(weights).requires_grad_()
    got = WeightRounding()(tensor)
    np.testing.assert_array_equal(got.detach().numpy(), weight_codes(weights, 0).dequantized)
    (got * 3).sum().backward()
    assert tensor.grad is not None
    assert (tensor.grad == 3).all()
