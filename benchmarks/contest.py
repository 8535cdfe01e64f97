"""Cameras that together ask several times what an engine can do: who gets how much of it?

No rate is capped, so nothing but the scheduler of the pipeline makes the streams equal. The
cameras differ in rate and in the size of their frames; each alone is faster than its share. Their
frames are made in memory, so that only the engine is short.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bas_edge import Localizer
from bas_edge.video import Pipeline, open_source

from .stream_rows import Contest

__all__ = ["RATES_FPS", "compete", "unfairness_percent"]

RATES_FPS = (200.0, 400.0, 800.0)
_STEPS = (1, 2, 4)  # every how many-th pixel of a frame is kept, each way


def compete(
    localizer: Localizer,
    workers: int,
    pixels: NDArray[np.uint8],
    *,
    streams: int,
    seconds: float,
    rates_fps: Sequence[float] = RATES_FPS,
) -> Contest:
    """Run so many cameras that all show `pixels` [H, W, 3], in three sizes and at three rates."""
    with Pipeline(localizer, workers=workers) as pipeline:
        for number in range(streams):
            step = _STEPS[number % len(_STEPS)]
            rate_fps = rates_fps[number // len(_STEPS) % len(rates_fps)]
            frames = _camera(np.ascontiguousarray(pixels[::step, ::step]), rate_fps)
            pipeline.add(open_source(frames, name=f"camera {number}", policy="newest"))
        stats = pipeline.run(duration_s=seconds)
    return Contest(
        seconds=round(stats.seconds, 1),
        offered=tuple(lane.stream.decoded for lane in stats.lanes),
        results=tuple(lane.results for lane in stats.lanes),
    )


def unfairness_percent(results: Sequence[int]) -> float:
    """How far the stream with the fewest results is behind the one with the most."""
    return 100 * (max(results) - min(results)) / max(results) if max(results) else 100.0


def _camera(pixels: NDArray[np.uint8], rate_fps: float) -> Iterator[NDArray[np.uint8]]:
    due = time.monotonic()
    while True:
        yield pixels
        now = time.monotonic()
        due = max(due + 1 / rate_fps, now)  # one that is late does not catch up
        time.sleep(due - now)
