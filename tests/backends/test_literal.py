"""A graph quantized for TensorRT, on ONNX Runtime: each pair rounds where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_nets import mobile, noise, operators, quantize, run

from bas_edge.backends import onnxruntime_backend, open_backend
from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.quantization.layers import find_layers


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("literal") / "model.onnx"
    path.write_bytes(quantize(mobile(), "tensorrt", noise(8)))
    return path


Outputs = Mapping[str, NDArray[Any]]


def errors(path: Path, compute: Callable[[NDArray[np.uint8]], Outputs]) -> dict[str, float]:
    """The mean distance of each output from the graph's definition, node by node."""
    frames = noise(8, seed=9)
    exact, got = run(path.read_bytes(), frames), compute(frames)
    return {name: float(np.abs(got[name] - value).mean()) for name, value in exact.items()}


def ours(path: Path, *, literal: bool) -> Callable[[NDArray[np.uint8]], Outputs]:
    def compute(frames: NDArray[np.uint8]) -> Outputs:
        backend = open_backend("onnxruntime", path, threads=1, literal=literal)
        outputs = backend.run({"frames": frames})
        backend.close()
        return outputs

    return compute


def test_literal_computes_what_the_nodes_say_and_fusing_changes_codes(path: Path) -> None:
    """Codes that fusing moves change the outputs by thousandths. Literally, only sums of float32
    in another order differ, by 2^-24 of them: a tenth leaves room for a code next to a tie."""
    fused = errors(path, lambda frames: run(path.read_bytes(), frames, optimized=True))
    literal = errors(path, ours(path, literal=True))
    for name in ("logits", "maps"):
        assert fused[name] > 1e-5
        assert literal[name] < 0.1 * fused[name]


def test_what_is_fused_is_what_the_nodes_say_in_its_own_flavour(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(quantize(mobile(), "onnxruntime", noise(8)))
    saved = tmp_path / "optimized.onnx"
    unwanted = onnxruntime_backend.UNWANTED_OPTIMIZERS
    run(path.read_bytes(), noise(1), optimized=True, saved=saved, without=unwanted)
    layers = find_layers(OnnxGraph.read(mobile()))
    quantized = sum(layer.operator == "Conv" for layer in layers)
    assert operators(saved).count("QLinearConv") == quantized > 0
    for name, error in errors(path, ours(path, literal=False)).items():
        assert error < 1e-5, name
