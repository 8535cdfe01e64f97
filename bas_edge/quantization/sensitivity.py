"""Which layers eight bits hurt, and how few of them must return to float."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import Manifest
from bas_edge.engine.onnx_graph import with_outputs
from bas_edge.quantization.candidates import Candidates
from bas_edge.quantization.comparison import Run
from bas_edge.quantization.report import BoundCheck, LayerError, SearchStep
from bas_edge.quantization.statistics import opened

__all__ = ["layer_errors", "search"]


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
        exact = backend.run({INPUT_NAME: frames})
    found: list[tuple[float, float | None]] = []
    for done, layer in enumerate(candidates.layers, 1):
        model = candidates.build_only(method, layer)
        inner = _observable(model, layer.result)
        with opened(inner, threads=threads, literal=literal) as backend:
            outputs = backend.run({INPUT_NAME: frames})
        seen = outputs.get(f"{layer.result}/restored", outputs.get(layer.result))
        own = None if seen is None else _decibel(exact[layer.result], seen)
        error = _output_error(Run.of_outputs(exact, manifest), Run.of_outputs(outputs, manifest))
        found.append((error, own))
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


def _observable(model: bytes, tensor: str) -> bytes:
    """The graph with a tensor as output, as its readers see it."""
    return with_outputs(model, [tensor, f"{tensor}/restored"])


def _output_error(exact: Run, got: Run) -> float:
    """Squared errors of logits and foreground maps, each as a share of its own spread."""
    total = 0.0
    for before, after in ((exact.scores, got.scores), (exact.maps, got.maps)):
        values = before.astype(np.float64)
        spread = float(((values - values.mean()) ** 2).sum())
        total += float(((after - values) ** 2).sum()) / spread if spread > 0 else 0.0
    return total


def _decibel(exact: NDArray[Any], got: NDArray[Any]) -> float | None:
    noise = float(((exact.astype(np.float64) - got) ** 2).sum())
    signal = float((exact.astype(np.float64) ** 2).sum())
    return 10 * math.log10(signal / noise) if noise > 0 and signal > 0 else None
