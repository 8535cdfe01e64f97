"""Layers whose values float16 cannot hold, found on frames, and kept in float32.

ONNX Runtime's CPU kernels compute float16 layers in float32 and may leave the roundings between
them out, so running the float16 graph there would not show an overflow. The float32 graph does:
its own values are looked at.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends import open_backend
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import InputPolicy
from bas_edge.engine.onnx_graph import OnnxGraph, with_outputs
from bas_edge.engine.precision import LARGEST, HalfGraph, to_half
from bas_edge.errors import EngineError

__all__ = ["half_that_fits", "trial_frames"]

_MARGIN = 2.0  # real frames may reach further than the ones tried here


def trial_frames(policy: InputPolicy) -> NDArray[np.uint8]:
    """Noise, black and white, uint8 [3, h, w, 3]: what is tried where there are no images."""
    shape = (3, policy.height, policy.width, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    frames[1], frames[2] = 0, 255
    return frames


def half_that_fits(path: Path, batches: Iterable[NDArray[np.uint8]]) -> HalfGraph:
    """The float16 twin of a float32 graph in which nothing that was seen overflows.

    A layer stays in float32 if what it computes or reads comes within a factor of two of the
    largest float16; each is named in the result's notes.

    Args:
        path: The float32 graph.
        batches: Frames uint8 [N, h, w, 3], read once.

    Raises:
        EngineError: A value is NaN or infinite in float32 already.
        MissingExtraError, InputError: See `to_half`.
        BackendError: ONNX Runtime refuses the graph.
    """
    half = to_half(path)
    reached = _reached(path, list(half.tensors), batches)
    beyond = {name: value for name, value in reached.items() if value * _MARGIN > LARGEST}
    if not beyond:
        return half
    graph = OnnxGraph.read(path)
    keep: dict[str, str] = {}
    for name, value in beyond.items():
        for node in (graph.producer(name), *graph.consumers(name)):
            if node is not None:
                keep.setdefault(node.name, f"'{name}' reaches {value:g}")
    notes = [
        f"'{node}' stays in float32: {reason}, and float16 ends at {LARGEST:g}."
        for node, reason in keep.items()
    ]
    return to_half(path, keep=keep, notes=notes)


def _reached(
    path: Path, names: list[str], batches: Iterable[NDArray[np.uint8]]
) -> dict[str, float]:
    """The largest magnitude of each tensor."""
    largest = dict.fromkeys(names, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        observed = Path(folder) / "observed.onnx"
        observed.write_bytes(with_outputs(path, names))
        backend = open_backend("onnxruntime", observed)
        try:
            for frames in batches:
                outputs = backend.run({INPUT_NAME: frames})
                for name in names:
                    found = float(np.abs(outputs[name]).max(initial=0))
                    if not math.isfinite(found):
                        raise EngineError(
                            f"The tensor '{name}' holds NaN or infinite values, in float32 "
                            "already.",
                            hint="Look at the training log, and train again.",
                        )
                    largest[name] = max(largest[name], found)
        finally:
            backend.close()
    return largest
