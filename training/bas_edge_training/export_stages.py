"""What an export did to the network, step by step, on the frames that it was checked on."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from bas_edge.engine.manifest import Manifest
from bas_edge.engine.stages import Stage
from bas_edge.quantization.comparison import Run, compare
from bas_edge_training.parity import Parity, contract_run, run_in_batches
from bas_edge_training.simplify import Simplification

__all__ = ["export_stages"]


def export_stages(
    parity: Parity,
    manifest: Manifest,
    frames: NDArray[np.uint8],
    *,
    plain: onnx.ModelProto,
    simplification: Simplification | None,
    checkpoint_bytes: int,
    file_bytes: int,
    note: str = "",
) -> tuple[Stage, ...]:
    """Stages "torch", "onnx" and, where onnxsim's graph was taken, "simplified".

    Args:
        parity: What PyTorch and the final graph said about `frames`.
        manifest: Of the final graph.
        frames: uint8 [M, H, W, 3] at network size.
        plain: The graph before onnxsim. It is run here, unless it is the final one.
        simplification: What onnxsim did; None where it was not asked.
        checkpoint_bytes: Size of the checkpoint.
        file_bytes: Size of the ONNX file.
        note: What a reader must know about the frames.
    """
    sizes = [frames.shape[1:3]] * len(frames)

    def stage(name: str, against: str, before: Run, after: Run, size: int, *words: str) -> Stage:
        compared = compare(before, after, sizes, manifest)
        return compared.stage(
            name, against, size_bytes=size, note="; ".join(filter(None, (note, *words)))
        )

    distilled = manifest.maps == "mean" and manifest.method == "bas"
    mapped = "with the distilled mean map" if distilled else ""
    torch = Stage(name="torch", size_bytes=checkpoint_bytes, note=mapped)
    if simplification is None or not simplification.applied:
        words = f"onnxsim: {simplification}" if simplification else ""
        return torch, stage("onnx", "torch", parity.torch, parity.graph, file_bytes, words)
    run = contract_run(run_in_batches(plain, frames), manifest.top_k)
    return (
        torch,
        stage("onnx", "torch", parity.torch, run, plain.ByteSize()),
        stage("simplified", "onnx", run, parity.graph, file_bytes, f"onnxsim: {simplification}"),
    )
