"""An engine, opened so that it shares the processor with decoding, drawing and encoding."""

from __future__ import annotations

import os
from typing import Any

from bas_edge.backends import PLAN_BACKENDS
from bas_edge.engine.bundle import open_engine
from bas_edge.localizer import Localizer
from bas_edge.localizer_options import check_threads
from bas_edge.open_runner import chosen_backend

__all__ = ["open_for_pipeline"]

_GPU_WORKERS = 2  # one frame is copied in while the network has another


def open_for_pipeline(
    path: str | os.PathLike[str],
    *,
    streams: int = 1,
    lossless: bool = True,
    backend: str = "auto",
    threads: int | None = None,
    **options: Any,
) -> tuple[Localizer, int]:
    """A Localizer for a `Pipeline`, and how many workers should run it.

    On a CPU, one live stream wants each frame soon: all cores work on one frame. Files and
    several streams want many frames: each core has a frame of its own, and wastes nothing on
    waiting for another. Idle threads sleep, because sources and sinks need the processor too.

    Args:
        path: The engine.
        streams: How many streams it is for.
        lossless: Whether no frame may be lost (policy "wait").
        backend: As for `Localizer`.
        threads: CPU threads in all; None is one a core that this process may use.
        options: Others of `Localizer`.

    Raises:
        InputError, EngineError, MissingExtraError, BackendError: As `Localizer`.
    """
    check_threads(threads)
    name = chosen_backend(backend, open_engine(path, check_plans=False))
    if name in PLAN_BACKENDS:
        return Localizer(path, backend=name, threads=threads, **options), _GPU_WORKERS
    cores = _cores() if threads is None else threads
    each, workers = (1, cores) if lossless or streams > 1 else (cores, 1)
    return Localizer(path, backend=name, threads=each, spin=False, **options), workers


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
