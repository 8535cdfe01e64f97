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
from bas_edge.localizer_options import check_threads
from bas_edge.open_runner import chosen_backend
from bas_edge.processes import in_processes, processor_share

__all__ = ["Share", "run_passes"]


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
        share = Share.of(engine, backend, threads, processes)
        name = share.backend
        with closing(in_processes(_Work(share, tuple(passes)), processes)) as parts:
            collect(parts)
    return name, [one.predictions(own) for one, own in zip(passes, seen, strict=True)]


@dataclass(frozen=True)
class Share:
    """How each of several processes runs an engine.

    Attributes:
        engine: The engine.
        backend: The backend's name.
        threads: CPU threads of each.
        devices: GPUs that they take in turn; 0 where they run on the CPU.
    """

    engine: str
    backend: str
    threads: int | None
    devices: int

    @classmethod
    def of(
        cls, engine: str | os.PathLike[str], backend: str, threads: int | None, processes: int
    ) -> Share:
        """As for `Localizer`; without `threads`, the processors are divided among the processes.

        Raises:
            InputError, EngineError, BackendError: As `Localizer`.
        """
        check_threads(threads)
        name = chosen_backend(backend, open_engine(engine, check_plans=False))
        devices = driver_state().devices if name in PLAN_BACKENDS else 0
        if not devices and processes > 1:
            threads = threads or processor_share(processes)
        return cls(os.fspath(engine), name, threads, devices)

    def device(self, rank: int) -> int:
        """The GPU of a process; 0 where there is none."""
        return rank % self.devices if self.devices else 0


@dataclass(frozen=True)
class _Work:
    """What each process does."""

    share: Share
    passes: tuple[ImagePass, ...]

    def __call__(self, rank: int, size: int) -> Iterator[tuple[int, Seen]]:
        share = self.share
        with Localizer(
            share.engine, backend=share.backend, threads=share.threads, device=share.device(rank)
        ) as localizer:
            yield from _parts(localizer, self.passes, rank, size)


def _parts(
    localizer: Localizer, passes: Sequence[ImagePass], rank: int, size: int
) -> Iterator[tuple[int, Seen]]:
    """What is seen, with the number of its pass."""
    for number, one in enumerate(passes):
        with closing(one.run(localizer, rank, size)) as seen:
            yield from ((number, part) for part in seen)
