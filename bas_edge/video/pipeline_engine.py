"""An engine, opened so that it shares the processor with decoding, drawing and encoding."""

from __future__ import annotations

import os
from typing import Any

from bas_edge.backends import PLAN_BACKENDS
from bas_edge.engine.bundle import Engine, open_engine
from bas_edge.errors import InputError
from bas_edge.localizer import Localizer
from bas_edge.localizer_options import check_threads
from bas_edge.open_runner import chosen_backend
from bas_edge.processes import processor_share
from bas_edge.segmenter import Segmenter

__all__ = ["open_for_pipeline", "open_frame_engine"]

_GPU_WORKERS = 2  # one frame is copied in while the network has another
# Options of Localizer that a Segmenter does not have, and their values where nobody asked.
_OF_BOXES = {
    "threshold": None,
    "top_k": None,
    "min_score": None,
    "max_boxes": 1,
    "boxes_only": False,
}


def open_frame_engine(
    path: str | os.PathLike[str], *, backend: str = "auto", **options: Any
) -> Localizer | Segmenter:
    """A Localizer or a Segmenter, by the engine's task.

    Args:
        path: The engine.
        backend: As for `Localizer`.
        options: Others of `Localizer`.

    Raises:
        InputError: As `Localizer`; or an option is given that an engine for segmentation does not
            have.
        EngineError, MissingExtraError, BackendError: As `Localizer`.
    """
    return _opened(open_engine(path, check_plans=False), backend=backend, **options)


def _opened(engine: Engine, *, backend: str, **options: Any) -> Localizer | Segmenter:
    if engine.manifest.task == "localization":
        return Localizer(engine.path, backend=backend, **options)
    for name, unset in _OF_BOXES.items():
        if options.pop(name, unset) != unset:
            raise InputError(
                f"{name} is for engines that localize, and {engine.path} is one for "
                f"{engine.manifest.task}.",
                hint="Leave it out.",
            )
    return Segmenter(engine.path, backend=backend, **options)


def open_for_pipeline(
    path: str | os.PathLike[str],
    *,
    streams: int = 1,
    lossless: bool = True,
    backend: str = "auto",
    threads: int | None = None,
    **options: Any,
) -> tuple[Localizer | Segmenter, int]:
    """An engine for a `Pipeline`, and how many workers should run it.

    On a CPU, one live stream wants each frame soon: all cores work on one frame. Files and
    several streams want many frames: each core has a frame of its own, and wastes nothing on
    waiting for another. Idle threads sleep, because sources and sinks need the processor too.

    Args:
        path: The engine: for localization or segmentation.
        streams: How many streams it is for.
        lossless: Whether no frame may be lost (policy "wait").
        backend: As for `Localizer`.
        threads: CPU threads in all; None is one a core that this process may use.
        options: Others of `Localizer`.

    Raises:
        InputError, EngineError, MissingExtraError, BackendError: As `open_frame_engine`.
    """
    check_threads(threads)
    engine = open_engine(path, check_plans=False)
    name = chosen_backend(backend, engine)
    if name in PLAN_BACKENDS:
        return _opened(engine, backend=name, threads=threads, **options), _GPU_WORKERS
    if backend == "auto":  # as where an image is opened: what was asked of a plan is void
        for unused in ("device", "rebuild"):
            options.pop(unused, None)
    cores = processor_share(1) if threads is None else threads
    each, workers = (1, cores) if lossless or streams > 1 else (cores, 1)
    return _opened(engine, backend=name, threads=each, spin=False, **options), workers
