"""ONNX Runtime makes integer layers of what it is given, and is no better at placing them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime import quantization as tools
from small_nets import Net, mobile, noise, operators, quantize, run, sqnr_db

from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.quantization.layers import find_layers

INTEGER = ("QLinearConv", "QLinearAdd", "QLinearAveragePool", "QGemm", "QLinearMatMul")


@pytest.mark.parametrize("correct", [False, True])
def test_every_layer_becomes_an_integer_one(tmp_path: Path, correct: bool) -> None:
    """Nothing is quantized or restored in between: the CPU's "no pair is left unfused"."""
    model = quantize(mobile(), "onnxruntime", noise(4), correct=correct)
    run(model, noise(1), optimized=True, saved=tmp_path / "o.onnx")
    left = Counter(operators(tmp_path / "o.onnx"))
    assert [left[name] for name in INTEGER] == [6, 1, 1, 0, 0]
    assert left["QuantizeLinear"] == left["Cast"] == left["Relu"] == left["Clip"] == 0
    assert left["DequantizeLinear"] == 2  # at the ends: before the pooling, and before the maps
    assert left["Conv"] + left["FusedConv"] == 1  # the last of the maps


def test_integer_layers_compute_the_same(tmp_path: Path) -> None:
    model, frames = quantize(mobile(), "onnxruntime", noise(4), correct=True), noise(4)
    exact, fused = run(model, frames), run(model, frames, optimized=True)
    for name in exact:
        assert sqnr_db(exact[name], fused[name]) > 50  # a code more or less here and there


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize(
    ("operator", "bias"), [("MatMul", None), *(("Gemm", b) for b in (None, (), (1,), (5,), (1, 5)))]
)
def test_dense_layers_become_integer_ones(
    tmp_path: Path, operator: str, bias: tuple[int, ...] | None, correct: bool
) -> None:
    net = Net(1)
    x = net.conv(net.pixels(128.0, 1 / 64), (6, 3, 12, 12), name="stem")
    x = net.add("Flatten", net.add("Relu", x, name="relu"), name="flat")
    weights = net.rng.normal(0, 0.5, (6, 5)).astype(np.float32)
    more = [] if bias is None else [net.constant("b", net.rng.normal(0, 1, bias).astype("f4"))]
    x = net.add(operator, x, net.constant("w", weights), *more, name="dense")
    net.add("Tanh", net.add("Relu", x, name="positive"), name="out")
    model, frames = net.model(out=2), noise(16)
    quantized = quantize(model, "onnxruntime", frames, correct=correct)
    fused = run(quantized, frames, optimized=True, saved=tmp_path / "o.onnx")["out"]
    left = Counter(operators(tmp_path / "o.onnx"))
    assert left["QLinearConv"] == left["QGemm"] + left["QLinearMatMul"] == 1
    assert (left["QuantizeLinear"], left["DequantizeLinear"]) == (0, 1)
    assert sqnr_db(run(model, frames)["out"], fused) > 25


# onnxruntime.quantization, with the same ranges of the same layers, as a yardstick


class _Frames:
    def __init__(self, frames: Any) -> None:
        self.batches = iter([{"frames": frames}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.batches, None)


def quantized_by_onnxruntime(folder: Path, model: bytes, flavour: str, frames: Any) -> bytes:
    source, target = folder / "float.onnx", folder / "static.onnx"
    source.write_bytes(model)
    signed = flavour == "tensorrt"
    options = (
        {"QuantizeBias": False, "DedicatedQDQPair": True, "ActivationSymmetric": True}
        if signed
        else {}
    )
    tools.quantize_static(
        source,
        target,
        _Frames(frames),
        quant_format=tools.QuantFormat.QDQ,
        activation_type=tools.QuantType.QInt8 if signed else tools.QuantType.QUInt8,
        weight_type=tools.QuantType.QInt8,
        per_channel=True,
        nodes_to_quantize=[layer.node for layer in find_layers(OnnxGraph.read(model))],
        extra_options=options,
    )
    return target.read_bytes()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("flavour", ["onnxruntime", "tensorrt"])
def test_no_less_accurate_than_onnxruntimes_own_tool(
    tmp_path: Path, flavour: Any, seed: int
) -> None:
    model, frames, others = mobile(seed), noise(16), noise(32, 5)
    exact = run(model, others)
    theirs = run(quantized_by_onnxruntime(tmp_path, model, flavour, frames), others)
    ours = run(quantize(model, flavour, frames), others)
    for name in exact:
        assert sqnr_db(exact[name], ours[name]) > sqnr_db(exact[name], theirs[name]) - 0.5
