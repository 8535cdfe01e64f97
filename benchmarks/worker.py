"""One process of a comparison: opens one variant, and answers or times it.

`python -m benchmarks.worker time maps_to_boxes ours --work /tmp/w --block-s 1`
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from .cases import comparison
from .harness import Block, Comparison, Session, answer_path

__all__ = ["answer", "main", "measure"]

_WARM_UP_S = 0.3
_LEAST_CALLS = 5


def answer(case: Comparison, variant: str, work: Path) -> None:
    """Save the answers to all inputs as one array [inputs, ...]."""
    session = case.variants[variant](work)
    values = np.stack([np.asarray(session(index).values) for index in range(case.inputs)])
    np.save(answer_path(work, case.name, variant), values)


def measure(session: Session, inputs: int, block_s: float) -> Block:
    """Warm up, then time one call after another, over all inputs in turn.

    Runs for `block_s` seconds or five calls, whichever ends later. A call returns only when its
    result is on the host.
    """
    _run_for(session, inputs, min(_WARM_UP_S, block_s), least=2)
    times_ms, stages = _run_for(session, inputs, block_s, least=_LEAST_CALLS)
    return Block(times_ms, {name: statistics.median(values) for name, values in stages.items()})


def _run_for(
    session: Session, inputs: int, seconds: float, *, least: int
) -> tuple[list[float], dict[str, list[float]]]:
    times_ms: list[float] = []
    stages: dict[str, list[float]] = {}
    end = time.perf_counter() + seconds
    while len(times_ms) < least or time.perf_counter() < end:
        index = len(times_ms) % inputs
        start = time.perf_counter_ns()
        given = session(index)
        times_ms.append((time.perf_counter_ns() - start) / 1e6)
        for name, value in given.stages_ms.items():
            stages.setdefault(name, []).append(value)
    return times_ms, stages


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker")
    parser.add_argument("job", choices=["prepare", "answer", "time"])
    parser.add_argument("case")
    parser.add_argument("variant")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--block-s", type=float, required=True)
    options = parser.parse_args()
    case = comparison(options.case)
    if options.job == "prepare":
        assert case.prepare is not None
        case.prepare(options.work)
    elif options.job == "answer":
        answer(case, options.variant, options.work)
    else:
        session = case.variants[options.variant](options.work)
        block = measure(session, case.inputs, options.block_s)
        print(json.dumps({"times_ms": block.times_ms, "stages_ms": block.stages_ms}))


if __name__ == "__main__":
    main()
