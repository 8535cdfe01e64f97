"""From an exported ONNX file to an engine bundle."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import msgspec
import numpy as np

import bas_edge
from bas_edge.backends import check_backend, open_backend
from bas_edge.engine.bundle import Engine, write_bundle
from bas_edge.engine.contract import INPUT_NAME, check_graph, check_outputs
from bas_edge.engine.manifest import Manifest, Precision
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge.errors import InputError

__all__ = ["build_engine"]


def build_engine(
    model_onnx: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    backend: str = "onnxruntime",
    precision: Precision = "fp32",
    overwrite: bool = False,
    command: str | None = None,
) -> Engine:
    """Make the bundle `output` from an ONNX file that `bas-edge export` wrote.

    The graph is held against its metadata, loaded with the backend from inside the new bundle
    and run once on noise; only then does the bundle appear, whole, at `output`.

    Args:
        model_onnx: The exported graph.
        output: The folder to make, by custom `NAME.engine`.
        backend: One of `backend_names()`, or "auto".
        precision: "fp32", the only one in this version.
        overwrite: Replace an engine that is there, once the new one is complete.
        command: What the user typed, for the manifest; by default the equivalent command line.

    Raises:
        InputError: No such file, an unknown backend, or `output` is taken.
        EngineError: The file has no bas-edge metadata, breaks the graph contract, or the disk
            is full. Nothing is left behind.
        BackendError: The backend is not in this version, or refuses the graph.
    """
    if precision != "fp32":
        raise InputError(
            f"Precision '{precision}' is not part of this version of bas-edge.",
            hint="Build with --precision fp32.",
        )
    name = check_backend(backend)
    manifest = read_manifest(model_onnx)
    manifest = msgspec.structs.replace(
        manifest,
        name=manifest.name or Path(output).stem,
        created_by=f"bas-edge {bas_edge.__version__}",
        backend=name,
        precision=precision,
        build_command=command or _command(model_onnx, output, name),
    )
    return write_bundle(
        output,
        manifest,
        Path(model_onnx),
        overwrite=overwrite,
        check=lambda model: _prove(model, manifest),
    )


def _prove(model: Path, manifest: Manifest) -> None:
    """Load the graph and run it once; two frames, so that a batch that is not dynamic shows."""
    backend = open_backend(manifest.backend, model)
    try:
        check_graph(backend.inputs, backend.outputs, manifest)
        shape = (2, manifest.input.height, manifest.input.width, 3)
        frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        check_outputs(backend.run({INPUT_NAME: frames}), len(frames), manifest)
    finally:
        backend.close()


def _command(
    model_onnx: str | os.PathLike[str], output: str | os.PathLike[str], backend: str
) -> str:
    parts = ["bas-edge", "build-engine", os.fspath(model_onnx), "-o", os.fspath(output)]
    return shlex.join([*parts, "--backend", backend])
