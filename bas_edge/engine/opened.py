"""A serialized graph in ONNX Runtime, for as long as a block runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bas_edge.backends import Backend, open_backend

__all__ = ["opened"]


@contextmanager
def opened(model: bytes, *, threads: int | None = None, literal: bool = False) -> Iterator[Backend]:
    """A serialized graph in ONNX Runtime, until the block ends; see `open_backend`."""
    with tempfile.TemporaryDirectory(prefix="bas-edge-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        backend = open_backend("onnxruntime", path, threads=threads, literal=literal)
        try:
            yield backend
        finally:
            backend.close()
