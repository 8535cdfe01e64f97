"""What an engine or an exported ONNX file says about itself, without an inference library."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from bas_edge.engine.bundle import open_engine

__all__ = ["describe"]


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Check a bundle or bare `.onnx` file and describe it in plain JSON types.

    Returns:
        `path`; `kind`, "bundle" or "onnx"; `size_bytes`, of the bundle's recorded files or the
        ONNX file; and `manifest`, with every field that Manifest has.

    Raises:
        InputError, EngineError: See `open_engine`.
    """
    engine = open_engine(path)
    manifest = engine.manifest
    if engine.is_bundle and manifest.model is not None:
        records = (manifest.model, *manifest.files, *(plan.file for plan in manifest.plans))
        size_bytes = sum(record.size_bytes for record in records)
    else:
        size_bytes = engine.model_path.stat().st_size
    return {
        "path": os.fspath(path),
        "kind": "bundle" if engine.is_bundle else "onnx",
        "size_bytes": size_bytes,
        "manifest": msgspec.to_builtins(manifest),
    }
