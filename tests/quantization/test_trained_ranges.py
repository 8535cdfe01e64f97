from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.engine.onnx_metadata import read_manifest, with_metadata
from bas_edge.errors import EngineCorruptError, EngineError, EngineSchemaError, InputError
from bas_edge.quantization.codes import Codes
from bas_edge.quantization.layers import find_layers, observed_tensors
from bas_edge.quantization.trained_ranges import (
    RANGES_KEY,
    TrainedRanges,
    read_trained_ranges,
    with_trained_ranges,
)

MakeOnnx = Callable[..., Path]


def some_ranges(**ranges: tuple[float, float]) -> TrainedRanges:
    return TrainedRanges(flavour="tensorrt", method="mse", images=64, ranges=ranges)


def test_ranges_travel_in_the_file_to_the_bit(tiny_onnx: MakeOnnx, tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "m.onnx")
    manifest = read_manifest(path)
    assert read_trained_ranges(path) is None
    ranges = some_ranges(cells=(0.0, 0.1 + 0.2), response=(-1 / 3, 2.5))
    path.write_bytes(with_trained_ranges(path.read_bytes(), some_ranges(old=(0, 1))))
    path.write_bytes(with_trained_ranges(path.read_bytes(), ranges))
    assert read_trained_ranges(path) == ranges
    assert read_manifest(path) == manifest
    assert OnnxGraph.read(path).outputs == ["logits", "maps"]


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b'{"schema_version": 2}', EngineSchemaError, "has trained ranges schema 2; this version"),
        (b'{"schema_version": 1}', EngineCorruptError, "missing required field"),
        (b"\xff", EngineCorruptError, "cannot be read"),
        (
            b'{"schema_version": 1, "flavour": "tensorrt", "method": "mse", "images": 1, '
            b'"ranges": {"x": [2, 1]}}',
            EngineCorruptError,
            "the range of 'x' is 2.0 to 1.0",
        ),
    ],
)
def test_damaged_ranges_are_refused(
    content: bytes, error: type[Exception], words: str, tiny_onnx: MakeOnnx, tmp_path: Path
) -> None:
    path = tiny_onnx(tmp_path / "m.onnx")
    path.write_bytes(with_metadata(path.read_bytes(), RANGES_KEY, content))
    with pytest.raises(error, match=words):
        read_trained_ranges(path)
    with pytest.raises(InputError):
        read_trained_ranges(tmp_path / "none.onnx")


def test_codes_of_both_flavours_reach_the_trained_ranges(
    tiny_onnx: MakeOnnx, tmp_path: Path
) -> None:
    graph = OnnxGraph.read(tiny_onnx(tmp_path / "m.onnx"))
    layers = find_layers(graph)
    (tensor,) = {name for layer in layers for name in layer.sources}
    names = observed_tensors(layers)
    ranges = some_ranges(**dict.fromkeys(names, (-0.5, 1.0)), unused=(0.0, 9.0))
    signed = ranges.codes(graph, layers, "tensorrt")
    unsigned = ranges.codes(graph, layers, "onnxruntime")
    assert list(signed) == list(unsigned) == names
    assert signed[names[-1]] == Codes(np.float32(1 / 127))
    assert unsigned[names[-1]] == Codes(np.float32(1.5 / 255), 85)
    with pytest.raises(EngineError, match=f"no trained range for '{tensor}'") as caught:
        some_ranges(unused=(0.0, 1.0)).codes(graph, layers, "tensorrt")
    assert "bas-edge export" in str(caught.value.hint)
