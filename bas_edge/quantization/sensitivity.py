"""Which layers eight bits hurt, and how few of them must return to float."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends import Backend
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import Manifest
from bas_edge.engine.onnx_graph import with_outputs
from bas_edge.engine.opened import opened
from bas_edge.foreground import foreground_maps
from bas_edge.quantization.candidates import Candidates
from bas_edge.quantization.report import BoundCheck, LayerError, SearchStep

__all__ = ["layer_errors", "search"]

_BATCH = 2  # frames whose inner tensors are in memory at once
_INNER = 4  # frames whose inner tensors are compared

_Answer: TypeAlias = "tuple[NDArray[np.float32], ...]"


def layer_errors(
    candidates: Candidates,
    method: str,
    frames: NDArray[np.uint8],
    manifest: Manifest,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[LayerError, ...]:
    """What each layer costs when it alone is quantized, the costliest first.

    Args:
        candidates: The layers.
        method: How ranges are chosen.
        frames: uint8 [N, h, w, 3]; a few dozen tell the layers apart.
        manifest: Tells the form of the maps.
        threads: Of ONNX Runtime.
        progress: Called with layers done, and all.
    """
    literal = candidates.flavour == "tensorrt"
    source = candidates.graph.serialize()
    results = [layer.result for layer in candidates.layers]
    with opened(with_outputs(source, results), threads=threads) as backend:
        exact, inner = _outputs(backend, frames, results, manifest)
    found: list[tuple[float, float | None]] = []
    for done, layer in enumerate(candidates.layers, 1):
        # as its readers see it, where they read codes
        names = [f"{layer.result}/restored", layer.result]
        model = with_outputs(candidates.build_only(method, layer), names)
        with opened(model, threads=threads, literal=literal) as backend:
            got, seen = _outputs(backend, frames, names, manifest)
        own = next((seen[name] for name in names if name in seen), None)
        decibel = None if own is None else _decibel(inner[layer.result], own)
        found.append((_output_error(exact, got), decibel))
        progress(done, len(candidates.layers))
    total = sum(error for error, _ in found) or 1.0
    errors = [
        LayerError(node=layer.node, operator=layer.operator, error=error / total, sqnr_db=own)
        for layer, (error, own) in zip(candidates.layers, found, strict=True)
    ]
    return tuple(sorted(errors, key=lambda one: (-one.error, one.node)))


def search(
    order: Sequence[str],
    check: Callable[[tuple[str, ...]], tuple[BoundCheck, ...]],
    *,
    budget_s: float,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[tuple[str, ...] | None, tuple[SearchStep, ...]]:
    """The fewest of the most sensitive layers that must be in float for the bound to hold.

    1, 2, 4 … layers are tried until the bound holds, then the numbers between that and the last
    that failed, by halving.

    Args:
        order: Names of the layers, the most sensitive first.
        check: Measures the bound with these layers in float.
        budget_s: No step starts after so many seconds.
        progress: Called with steps done, and those expected.

    Returns:
        The layers, None where no number tried is enough; and the steps.
    """
    started = time.monotonic()
    steps: list[SearchStep] = []
    failing, holding = 0, len(order)  # with all in float nothing would be quantized
    expected = max(1, math.ceil(math.log2(max(2, len(order)))) * 2)

    def held(count: int) -> bool:
        before = time.monotonic()
        checks = check(tuple(order[:count]))
        steps.append(
            SearchStep(
                nodes_in_float=count,
                checks=checks,
                held=all(one.held for one in checks),
                seconds=time.monotonic() - before,
            )
        )
        progress(len(steps), max(expected, len(steps)))
        return steps[-1].held

    count = 1
    while time.monotonic() - started < budget_s:
        if holding == len(order):  # none found yet
            if failing >= len(order) - 1:
                break
            count = min(max(1, 2 * failing), len(order) - 1)
        elif holding - failing > 1:
            count = (holding + failing) // 2
        else:
            break
        if held(count):
            holding = count
        else:
            failing = count
    return (None if holding == len(order) else tuple(order[:holding])), tuple(steps)


def _outputs(
    backend: Backend, frames: NDArray[np.uint8], inner: Sequence[str], manifest: Manifest
) -> tuple[_Answer, dict[str, NDArray[Any]]]:
    """What a graph says about all frames; and tensors inside it, on the first few only."""
    answers: list[_Answer] = []
    seen: dict[str, list[NDArray[Any]]] = {}
    for start in range(0, len(frames), _BATCH):
        outputs = backend.run({INPUT_NAME: frames[start : start + _BATCH]})
        for name in inner:
            if start < _INNER and name in outputs:
                seen.setdefault(name, []).append(outputs[name])
        answers.append(_answer(outputs, manifest))
    joined = tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))
    return joined, {name: np.concatenate(parts) for name, parts in seen.items()}


def _answer(outputs: Mapping[str, NDArray[Any]], manifest: Manifest) -> _Answer:
    """Logits and foreground maps; of a segmenter, the scores of its cells."""
    if manifest.task == "segmentation":
        return (outputs["scores"],)
    return outputs["logits"], foreground_maps(outputs, manifest.maps, manifest.top_k)


def _output_error(exact: _Answer, got: _Answer) -> float:
    """Squared errors of all parts of an answer, each as a share of its own spread."""
    total = 0.0
    for before, after in zip(exact, got, strict=True):
        values = before.astype(np.float64)
        spread = float(((values - values.mean()) ** 2).sum())
        total += float(((after - values) ** 2).sum()) / spread if spread > 0 else 0.0
    return total


def _decibel(exact: NDArray[Any], got: NDArray[Any]) -> float | None:
    noise = float(((exact.astype(np.float64) - got) ** 2).sum())
    signal = float((exact.astype(np.float64) ** 2).sum())
    return 10 * math.log10(signal / noise) if noise > 0 and signal > 0 else None
