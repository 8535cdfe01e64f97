"""The passes of an evaluation, by one process or shared among several."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from bas_edge.backends import PLAN_BACKENDS
from bas_edge.backends._cuda import driver_state
from bas_edge.engine.bundle import open_engine
from bas_edge.evaluation_pass import BATCH, ImagePass, Predictions, Seen
from bas_edge.localizer import Localizer
from bas_edge.open_runner import chosen_backend
from bas_edge.processes import in_processes, processor_share

__all__ = ["run_passes"]


def run_passes(
    engine: str | os.PathLike[str],
    passes: Sequence[ImagePass],
    *,
    backend: str,
    threads: int | None,
    processes: int,
    advance: Callable[[int], None],
) -> tuple[str, list[Predictions]]:
    """The backend's name, and what the engine says in each pass, however many processes share it.

    Args:
        engine, backend, threads: As for `Localizer`. Each of several processes has so many
            threads, or its share of the processors; or the GPU whose turn it is.
        passes: At least one.
        processes: At least 1; no more are started than there are batches.
        advance: Called after each batch with the number of its images.

    Raises:
        InputError, EngineError, BackendError: As `Localizer`, or no image of a pass can be used.
        BasEdgeError: One of several processes was ended.
    """
    seen = [Seen() for _ in passes]

    def collect(parts: Iterable[tuple[int, Seen]]) -> None:
        for number, part in parts:
            seen[number].add(part)
            advance(len(part))

    batches = sum(-(-len(one.paths) // BATCH) for one in passes)
    processes = min(processes, batches)
    if processes <= 1:
        with Localizer(engine, backend=backend, threads=threads) as localizer:
            name = localizer.backend_name
            collect(_parts(localizer, passes, 0, 1))
    else:
        name = chosen_backend(backend, open_engine(engine))
        devices = driver_state().devices if name in PLAN_BACKENDS else 0
        if not devices:
            threads = threads or processor_share(processes)
        work = _Work(os.fspath(engine), tuple(passes), name, threads, devices)
        with closing(in_processes(work, processes)) as parts:
            collect(parts)
    return name, [one.predictions(own) for one, own in zip(passes, seen, strict=True)]


@dataclass(frozen=True)
class _Work:
    """What each process does."""

    engine: str
    passes: tuple[ImagePass, ...]
    backend: str
    threads: int | None
    devices: int

    def __call__(self, rank: int, size: int) -> Iterator[tuple[int, Seen]]:
        device = rank % self.devices if self.devices else 0
        with Localizer(
            self.engine, backend=self.backend, threads=self.threads, device=device
        ) as localizer:
            yield from _parts(localizer, self.passes, rank, size)


def _parts(
    localizer: Localizer, passes: Sequence[ImagePass], rank: int, size: int
) -> Iterator[tuple[int, Seen]]:
    """What is seen, with the number of its pass."""
    for number, one in enumerate(passes):
        with closing(one.run(localizer, rank, size)) as seen:
            yield from ((number, part) for part in seen)
