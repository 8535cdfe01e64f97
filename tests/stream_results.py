"""Results of streams, made by hand for the tests of sinks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.results import Box, Localization, Timing
from bas_edge.video import FrameResult, StreamEvent, VideoFrame

STARTED = 1795320306.789  # 2026-11-22T04:05:06.789Z


def grey(size: tuple[int, int] = (48, 64), level: int = 90) -> NDArray[np.uint8]:
    return np.full((*size, 3), level, np.uint8)


def result(
    index: int = 0,
    time_s: float | None = None,
    *,
    stream: str = "door",
    pixels: NDArray[np.uint8] | None = None,
    box: Box | None = None,
    class_name: str = "wren",
    score: float = 0.75,
    found: bool = True,
    **frame: Any,
) -> FrameResult:
    """A result of a 25 fps stream; `frame` goes to VideoFrame."""
    pixels = grey() if pixels is None else pixels
    time_s = index / 25 if time_s is None else time_s
    height, width = pixels.shape[:2]
    whole = (0.0, 0.0, float(width), float(height))
    inner = (0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height)
    localization = Localization(
        box=(inner if box is None else box) if found else whole,
        label=1,
        class_name=class_name,
        score=score,
        found=found,
        map=np.zeros((7, 7), np.float32),
        timing=Timing(1.0, 2.0, 0.5),
        frame_size=(height, width),
        scores=np.array([1 - score, score], np.float32),
    )
    arrived = {"captured_at": STARTED + time_s} | frame
    return FrameResult(stream, VideoFrame(index, time_s, pixels, **arrived), localization, 3.25)


def ended(stream: str = "door") -> StreamEvent:
    return StreamEvent(stream, "ended", STARTED + 9, "the source has come to its end")


def descriptors() -> int:
    """How many file descriptors this process has open; Linux only, 0 elsewhere."""
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0
