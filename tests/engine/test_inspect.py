from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bas_edge.engine.build import build_engine
from bas_edge.engine.inspect import describe
from bas_edge.errors import EngineError


def test_an_onnx_file_and_its_bundle_describe_the_same_model(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx")
    build_engine(model, tmp_path / "e.engine")
    bare, bundle = describe(model), describe(tmp_path / "e.engine")
    assert (bare["kind"], bundle["kind"]) == ("onnx", "bundle")
    assert bare["size_bytes"] == bundle["size_bytes"] == model.stat().st_size
    assert bare["manifest"]["input"] == bundle["manifest"]["input"]
    assert bare["manifest"]["model"] is None
    assert bundle["manifest"]["model"]["path"] == "model.onnx"
    assert json.loads(json.dumps(bundle))["path"] == str(tmp_path / "e.engine")


def test_a_damaged_engine_is_not_described(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    engine = build_engine(tiny_onnx(tmp_path / "m.onnx"), tmp_path / "e.engine")
    engine.model_path.write_bytes(b"")
    with pytest.raises(EngineError, match=r"model\.onnx has 0 bytes"):
        describe(engine.path)
