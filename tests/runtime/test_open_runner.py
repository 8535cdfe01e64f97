"""How an engine's graph is opened, by what its manifest says."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

import bas_edge
from bas_edge import open_runner as module
from bas_edge.engine.manifest import Quantization


@pytest.mark.parametrize(
    ("flavour", "literal"), [("tensorrt", True), ("onnxruntime", False), (None, False)]
)
def test_a_graph_for_tensorrt_is_computed_literally(
    flavour: Any,
    literal: bool,
    tmp_path: Path,
    graphs: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[dict[str, Any]] = []
    open_backend = module.open_backend

    def spy(*arguments: Any, **options: Any) -> Any:
        given.append(options)
        return open_backend(*arguments, **options)

    monkeypatch.setattr(module, "open_backend", spy)
    made = (
        None if flavour is None else Quantization(flavour=flavour, method="mse", reduce_range=True)
    )
    manifest = msgspec.structs.replace(graphs.tiny_manifest(), quantization=made)
    path = graphs.save(tmp_path / "m.onnx", graphs.tiny_model(manifest), manifest)
    with bas_edge.Localizer(path) as localizer:
        localizer._open_runner()
    assert [options["literal"] for options in given] == [literal]
