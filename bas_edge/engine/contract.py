"""The graph contract: what an ONNX graph must take and give for its manifest to be true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends.base import TensorSpec
from bas_edge.engine.manifest import Manifest
from bas_edge.errors import EngineError

__all__ = ["INPUT_NAME", "check_graph", "check_outputs"]

INPUT_NAME = "frames"

_HINT = "Export the model again with bas-edge export; do not edit the graph or its metadata."
_Shape = tuple[int | None, ...]


def check_graph(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    manifest: Manifest,
    *,
    batch: int | None = None,
) -> None:
    """Hold what a graph declares against its manifest. Undeclared dimensions pass.

    `batch` is the one that a plan was built for; graphs, and plans for several, have None.

    Raises:
        EngineError: A tensor is missing, superfluous, or of another type or shape.
    """
    policy = manifest.input
    frames: _Shape = (batch, policy.height, policy.width, 3)
    _check_names("inputs", [spec.name for spec in inputs], [INPUT_NAME])
    _check_tensor(inputs[0].name, inputs[0].dtype, inputs[0].shape, np.uint8, frames)
    expected = _expected_outputs(manifest)
    _check_names("outputs", [spec.name for spec in outputs], list(expected))
    for spec in outputs:
        dtype, shape = expected[spec.name]
        _check_tensor(spec.name, spec.dtype, spec.shape, dtype, (batch, *shape[1:]))
    for spec in (*inputs, *outputs):
        if spec.shape and spec.shape[0] != batch:
            raise EngineError(
                f"The graph's '{spec.name}' has a fixed batch of {spec.shape[0]}; "
                "it must be dynamic.",
                hint=_HINT,
            )


def check_outputs(outputs: Mapping[str, NDArray[Any]], count: int, manifest: Manifest) -> None:
    """Hold what a graph gave for `count` frames against its manifest.

    Raises:
        EngineError: An array is of another type or shape, not finite, or `classes` are not the
            best K of `logits`, best first.
    """
    for name, (dtype, shape) in _expected_outputs(manifest).items():
        array = outputs[name]
        _check_tensor(name, array.dtype, array.shape, dtype, (count, *shape[1:]))
        if not np.isfinite(array).all():
            raise EngineError(
                f"The graph's output '{name}' holds NaN or infinite values.", hint=_HINT
            )
    if manifest.task == "localization" and manifest.maps == "selected":
        picked = np.take_along_axis(outputs["logits"], outputs["classes"].astype(np.int64), axis=1)
        best = -np.sort(-outputs["logits"], axis=1)[:, : manifest.k]
        if not np.array_equal(picked, best):
            raise EngineError(
                f"The graph's 'classes' are not the {manifest.k} best of 'logits', best first.",
                hint=_HINT,
            )


def _expected_outputs(manifest: Manifest) -> dict[str, tuple[type[np.generic], _Shape]]:
    if manifest.task == "segmentation":
        return {"scores": (np.float32, (None, 1 + len(manifest.classes), None, None))}
    logits: dict[str, tuple[type[np.generic], _Shape]] = {
        "logits": (np.float32, (None, len(manifest.classes)))
    }
    if manifest.maps == "mean":
        return logits | {"foreground": (np.float32, (None, 1, None, None))}
    maps = {"maps": (np.float32, (None, manifest.k, None, None))}
    if manifest.maps == "selected":
        return logits | {"classes": (np.int32, (None, manifest.k))} | maps
    return logits | maps


def _check_names(what: str, got: list[str], expected: list[str]) -> None:
    if sorted(got) != sorted(expected):
        raise EngineError(
            f"The graph's {what} are {', '.join(got)}; its metadata asks for "
            f"{', '.join(expected)}.",
            hint=_HINT,
        )


def _check_tensor(
    name: str, dtype: np.dtype[Any], shape: _Shape, want: type[np.generic], expected: _Shape
) -> None:
    if dtype != want:
        raise EngineError(
            f"The graph's '{name}' is {dtype}; it must be {np.dtype(want)}.", hint=_HINT
        )
    agrees = len(shape) == len(expected) and all(
        a is None or b is None or a == b for a, b in zip(shape, expected, strict=True)
    )
    if not agrees:
        raise EngineError(
            f"The graph's '{name}' has shape {_text(shape)}; its metadata says {_text(expected)}.",
            hint=_HINT,
        )


def _text(shape: _Shape) -> str:
    return "[" + ", ".join("?" if side is None else str(side) for side in shape) + "]"
