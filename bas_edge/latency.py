"""How long one engine takes on this machine, stage by stage."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.conditions import machine_conditions
from bas_edge.errors import InputError

__all__ = ["Benchmark", "Stage", "benchmark", "synthetic_frame"]


@dataclass(frozen=True, slots=True)
class Stage:
    """Wall-clock milliseconds per frame of one stage."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One measurement, with what is needed to repeat and to judge it.

    Attributes:
        engine: The path as given.
        backend: Inference library.
        threads: What was asked for; None is the library's default.
        frame: What was run on: "synthetic 1280×720", or the image.
        frames: Frames measured, after `warmup` that were not.
        seconds: Wall time of those frames.
        frames_per_s: `frames / seconds`, one after another in one thread.
        stages: "pre" (check and resize), "infer", "post" (maps to box, or scores to mask), "total".
        conditions: See `bas_edge.conditions`; taken right after the measurement.
    """

    engine: str
    backend: str
    threads: int | None
    frame: str
    frames: int
    warmup: int
    seconds: float
    frames_per_s: float
    stages: dict[str, Stage]
    conditions: dict[str, Any]


def benchmark(
    engine: str | Path,
    *,
    backend: str = "auto",
    threads: int | None = None,
    frames: int | None = None,
    seconds: float | None = None,
    warmup: int = 10,
    size: tuple[int, int] = (720, 1280),
    image: str | Path | None = None,
    on_frame: Callable[[int, int | None], None] | None = None,
) -> Benchmark:
    """Localize or segment one frame again and again, as the engine does.

    Args:
        frames: How many to measure; None is 200, or as many as `seconds` allow.
        seconds: Stop after this long, even before `frames`.
        warmup: Frames that run first and are not counted.
        size: (H, W) of the synthetic frame.
        image: A real frame instead of the synthetic one.
        on_frame: Called with (done, planned or None) after each measured frame.

    Raises:
        InputError: A count or a size is not positive, or the image cannot be read.
        EngineError, BackendError: As `Localizer` and `Segmenter` raise them.
    """
    from bas_edge.images import read_image
    from bas_edge.video.pipeline_engine import open_frame_engine

    if min(size) < 1 or (frames is not None and frames < 1) or warmup < 0:
        raise InputError("A benchmark needs at least one frame of at least 1×1 pixels.")
    if seconds is not None and seconds <= 0:
        raise InputError(f"A benchmark cannot run for {seconds:g} seconds.")
    planned = 200 if frames is None and seconds is None else frames
    pixels = synthetic_frame(size) if image is None else read_image(image)
    height, width = pixels.shape[:2]
    columns = {name: array("d") for name in ("pre", "infer", "post", "total")}

    with open_frame_engine(engine, backend=backend, threads=threads) as network:
        for _ in range(warmup):
            network.run(pixels, color="rgb")
        started = time.perf_counter()
        done = 0
        while planned is None or done < planned:
            timing = network.run(pixels, color="rgb").timing
            for name, column in columns.items():
                column.append(getattr(timing, f"{name}_ms"))
            done += 1
            if on_frame is not None:
                on_frame(done, planned)
            if seconds is not None and time.perf_counter() - started >= seconds:
                break
        elapsed = time.perf_counter() - started
        backend_name = network.backend_name

    return Benchmark(
        engine=str(engine),
        backend=backend_name,
        threads=threads,
        frame=f"{'synthetic' if image is None else image} {width}×{height}",
        frames=done,
        warmup=warmup,
        seconds=elapsed,
        frames_per_s=done / elapsed,
        stages={name: _stage(column) for name, column in columns.items()},
        conditions=machine_conditions(),
    )


def synthetic_frame(size: tuple[int, int]) -> NDArray[np.uint8]:
    """[H, W, 3] uint8: a bright disc on a noisy gradient, the same on every machine."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    disc = np.hypot((x - width * 0.6) / width, (y - height * 0.45) / height) < 0.2
    ramp = 60 + 80 * x / width + 40 * y / height
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    tint = np.array([1.0, 0.8, 0.6], np.float32)
    frame = ramp[..., None] * tint + noise + disc[..., None] * np.array([90, 40, 10])
    pixels: NDArray[np.uint8] = np.clip(frame, 0, 255).astype(np.uint8)
    return pixels


def _stage(times_ms: array[float]) -> Stage:
    p50, p90, p99 = (float(value) for value in np.percentile(times_ms, [50, 90, 99]))
    return Stage(p50, p90, p99, float(np.mean(times_ms)))
