"""A graph quantized for TensorRT, on ONNX Runtime: each pair rounds where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_nets import mobile, noise, quantize, run

from bas_edge.backends import open_backend


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("literal") / "model.onnx"
    path.write_bytes(quantize(mobile(), "tensorrt", noise(8)))
    return path


def errors(path: Path, **options: Any) -> dict[str, float]:
    """The mean distance of each output from the graph's definition, node by node."""
    frames = noise(8, seed=9)
    exact = run(path.read_bytes(), frames)
    backend = open_backend("onnxruntime", path, threads=1, **options)
    got = backend.run({"frames": frames})
    backend.close()
    return {name: float(np.abs(got[name] - value).mean()) for name, value in exact.items()}


def test_literal_computes_what_the_nodes_say_and_fusing_changes_codes(path: Path) -> None:
    """Codes that fusing moves change the outputs by thousandths. Literally, only sums of float32
    in another order differ, by 2^-24 of them: a tenth leaves room for a code next to a tie."""
    fused, literal = errors(path), errors(path, literal=True)
    for name in ("logits", "maps"):
        assert fused[name] > 1e-5
        assert literal[name] < 0.1 * fused[name]


def test_without_literal_it_is_fused(path: Path) -> None:
    assert errors(path, literal=False) == errors(path)
