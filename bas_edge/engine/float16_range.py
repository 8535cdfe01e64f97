"""Layers whose values float16 cannot hold, found on frames, and kept in float32.

ONNX Runtime's CPU kernels compute float16 layers in float32 and may leave the roundings between
them out, so running the float16 graph there would not show an overflow. The float32 graph does:
its own values are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import InputPolicy
from bas_edge.engine.onnx_graph import OnnxGraph, with_outputs
from bas_edge.engine.opened import opened
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
    largest float16, also where it reads what float32 layers compute; each is named in the
    result's notes.

    Args:
        path: The float32 graph.
        batches: Frames uint8 [N, h, w, 3], read once.

    Raises:
        EngineError: A value is NaN or infinite in float32 already.
        MissingExtraError, InputError: See `to_half`.
        BackendError: ONNX Runtime refuses the graph.
    """
    half = to_half(path)
    graph = OnnxGraph.read(path)
    # Fewer float16 layers read and compute no other tensors than these.
    reached = _reached(path, [name for name in _in_half(half) if graph.producer(name)], batches)
    keep: dict[str, str] = {}
    while beyond := [n for n in _in_half(half) if reached.get(n, 0.0) * _MARGIN > LARGEST]:
        for name in beyond:
            computes = [half.tensors[name]] if name in half.tensors else []
            for node in (*computes, *half.readers.get(name, ())):
                keep.setdefault(node, f"'{name}' reaches {reached[name]:g}")
        notes = [
            f"'{node}' stays in float32: {reason}, and float16 ends at {LARGEST:g}."
            for node, reason in keep.items()
        ]
        half = to_half(path, keep=keep, notes=notes)
    return half


def _in_half(half: HalfGraph) -> list[str]:
    """What is computed or read as float16, constants too."""
    return list(dict.fromkeys((*half.tensors, *half.readers)))


def _reached(
    path: Path, names: list[str], batches: Iterable[NDArray[np.uint8]]
) -> dict[str, float]:
    """The largest magnitude of each tensor."""
    largest = dict.fromkeys(names, 0.0)
    with opened(with_outputs(path, names)) as backend:
        for frames in batches:
            outputs = backend.run({INPUT_NAME: frames})
            for name in names:
                found = float(np.abs(outputs[name]).max(initial=0))
                if not math.isfinite(found):
                    raise EngineError(
                        f"The tensor '{name}' holds NaN or infinite values, in float32 already.",
                        hint="Look at the training log, and train again.",
                    )
                largest[name] = max(largest[name], found)
    return largest
