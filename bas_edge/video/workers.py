"""The threads that run the engine: frames from the lanes in turn, what was found back to them."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bas_edge.errors import InputError
from bas_edge.video.batch_size import BatchSize
from bas_edge.video.busy import Busy
from bas_edge.video.frame_engine import as_localizer
from bas_edge.video.lane import Job, Lane
from bas_edge.video.stage_times import StageTimes

if TYPE_CHECKING:
    from bas_edge.engine.manifest import ThresholdPolicy
    from bas_edge.video.frame_engine import FrameEngine
    from bas_edge.video.frames import VideoFrame

__all__ = ["STAGES", "Workers"]

STAGES = ("pre_ms", "infer_ms", "post_ms", "total_ms")
_POLL_S = 0.25  # how often a worker looks for frames that nobody told it of
_NICER = 5  # of 19: how much less a worker asks of the processor than a source or a sink


class Workers:
    """Threads with a clone of the engine each.

    A worker takes the streams in turn, the one that waited longest first, and takes several
    frames at once only where that is faster.

    Args:
        engine: It is cloned, and stays the caller's.
        count: How many threads.
        max_batch: Most frames at once.
        lanes: The streams; more may be added under the lock of `changed`.
        changed: Notified whenever a frame may be taken, or `over` has changed.
        busy: Told while the engine works.
        over: Whether to end.
        failed: Called with what a worker raised, on its thread, which then ends.

    Attributes:
        count: How many threads.
        times: What each of `STAGES` of a frame takes.
    """

    def __init__(
        self,
        engine: FrameEngine,
        count: int,
        *,
        max_batch: int,
        lanes: Sequence[Lane],
        changed: threading.Condition,
        busy: Busy,
        over: Callable[[], bool],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.count = count
        self.times = {stage: StageTimes() for stage in STAGES}
        self._engine = engine
        self._tuned: FrameEngine | None = None  # clones are made of it, where there is one
        self._tuning = 0
        self._cloning = threading.Lock()  # of its own: a clone may take seconds
        self._closed = False
        self._lanes = lanes
        self._changed = changed
        self._busy = busy
        self._over = over
        self._failed = failed
        self._clock = 0
        self._batch_size = BatchSize(max_batch)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start every thread; once."""
        for number in range(self.count):
            thread = threading.Thread(
                target=self._work, name=f"bas-edge-infer-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Wait for every thread to end, once `over` says so."""
        for thread in self._threads:
            thread.join()
        with self._cloning:
            self._closed = True
            if self._tuned is not None:
                self._tuned.close()

    def retune(
        self,
        *,
        threshold: float | ThresholdPolicy | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        also: Callable[[], None],
    ) -> None:
        """Change how maps become boxes, from the next frame on; see `Pipeline.retune`.

        Args:
            threshold, top_k, min_score: None leaves a value as it is.
            also: Called under the lock, once `engine` is the new one and before a former one
                is closed.
        """
        with self._cloning:
            if self._closed:
                raise InputError("This pipeline has ended.", hint="Make a new one.")
            former = self._tuned
            localizer = as_localizer(self.engine, "Tuning")
            tuned = localizer.clone(threshold=threshold, top_k=top_k, min_score=min_score)
            with self._changed:
                self._tuned = tuned
                self._tuning += 1
                also()
                self._changed.notify_all()
            if former is not None:
                former.close()

    @property
    def engine(self) -> FrameEngine:
        """The engine with the options in use. Not to be closed."""
        return self._engine if self._tuned is None else self._tuned

    def batch_ms(self) -> dict[int, float]:
        """What a frame costs in batches; see `PipelineStats.batch_ms`."""
        return self._batch_size.costs_ms()

    def _work(self) -> None:
        _give_way()
        try:
            while not self._over():
                with self._cloning:  # so that nobody closes what is being cloned
                    engine, tuning = self.engine.clone(), self._tuning
                with contextlib.closing(engine):
                    while tuning == self._tuning and (jobs := self._take(tuning)):
                        self._run(engine, jobs)
        except BaseException as error:  # noqa: BLE001  (raised again by run)
            self._failed(error)

    def _take(self, tuning: int) -> list[Job]:
        """Frames to run together, of the streams that waited longest; empty at the end.

        Also empty where the engine was tuned anew.
        """
        with self._changed:
            while True:
                if self._over() or tuning != self._tuning:
                    return []
                ready = sorted(
                    (lane for lane in self._lanes if lane.ready), key=lambda lane: lane.served
                )
                jobs = []
                for lane in ready[: self._batch_size.choose(len(ready))] if ready else ():
                    self._clock += 1
                    lane.served = self._clock
                    job = lane.take()
                    if job is not None:
                        jobs.append(job)
                if jobs:
                    return jobs
                self._changed.wait(_POLL_S)

    def _run(self, engine: FrameEngine, jobs: Sequence[Job]) -> None:
        usable: list[tuple[Job, VideoFrame]] = []
        for job in jobs:
            try:
                usable.append((job, job.frame.frame()))
            except Exception as error:  # noqa: BLE001, PERF203  (one frame is no reason to stop)
                job.lane.put_back_unusable(job, error)
        if not usable:
            return
        started = time.perf_counter()
        with self._busy.at("The engine"):
            found = engine.run_batch([frame.pixels for _, frame in usable], color="rgb")
        took_ms = 1000 * (time.perf_counter() - started)
        with self._changed:  # workers share these
            self._batch_size.learn(len(usable), took_ms)
            for stage, times in self.times.items():
                for one in found:
                    times.add(getattr(one.timing, stage))
        for (job, frame), one in zip(usable, found, strict=True):
            job.lane.put_back(job, frame, one)


def _give_way() -> None:
    """Let this thread run after those of sources and sinks, where the processor is full.

    A worker that runs ahead only fills the queue of a sink, which then has no time to empty it.
    """
    if sys.platform == "linux":  # where threads have priorities of their own
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(
                os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICER
            )
