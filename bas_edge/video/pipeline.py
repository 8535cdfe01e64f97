"""Any number of streams through one engine: read ∥ infer ∥ write, nothing waits for another."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bas_edge.errors import InputError
from bas_edge.video.batch_size import BatchSize
from bas_edge.video.busy import Busy
from bas_edge.video.lane import Job, Lane, Smoother
from bas_edge.video.pipeline_stats import PipelineStats, lane_stats, sink_stats, stuck
from bas_edge.video.sink_thread import SinkThread
from bas_edge.video.sinks.event_rules import check_classes
from bas_edge.video.sinks.sink import NotifiedSink, Sink
from bas_edge.video.sources.addresses import redacted
from bas_edge.video.sources.stream import Stream
from bas_edge.video.stage_times import StageTimes
from bas_edge.video.steady.smoothing import Smoothing
from bas_edge.video.steady.steadier import Steadier

if TYPE_CHECKING:
    from bas_edge.engine.manifest import ThresholdPolicy
    from bas_edge.localizer import Localizer
    from bas_edge.video.frames import VideoFrame

__all__ = ["STAGES", "Pipeline"]

_log = logging.getLogger(__name__)

STAGES = ("pre_ms", "infer_ms", "post_ms", "total_ms")
_POLL_S = 0.25  # how often stalls are looked for, and signals let in
_NICER = 5  # of 19: how much less a worker asks of the processor than a source or a sink
_MORE_IN_FLIGHT = 4  # beyond one frame a worker: what waits in the sinks of a lossless stream


class Pipeline:
    """Runs streams through one engine and hands the results to sinks.

    Each source is read by a thread of its own and each sink is fed by one; `workers` threads run
    the engine, each with its own clone. A worker takes the streams in turn, the one that waited
    longest first, and takes several frames at once only where that is faster. So a slow, stalled
    or dead stream or sink holds up nobody else.

    Example:
        with Localizer("birds.engine") as localizer, Pipeline(localizer) as pipeline:
            pipeline.add(open_source("rtsp://camera/live"), sinks=[JsonLines("birds.jsonl")])
            pipeline.run()

    Args:
        localizer: The engine. It is cloned, and stays the caller's.
        workers: How many threads run it; see `open_for_pipeline`.
        max_batch: Most frames at once.
        stop_on_failure: Stop everything when a sink fails, and raise what it raised.
    """

    def __init__(
        self,
        localizer: Localizer,
        *,
        workers: int = 1,
        max_batch: int = 8,
        stop_on_failure: bool = False,
    ) -> None:
        if not 1 <= workers <= 64:
            raise InputError(f"workers is {workers}, but must be 1 to 64.")
        if max_batch < 1:
            raise InputError(f"max_batch is {max_batch}, but must be 1 or more.")
        self._localizer = localizer
        self._tuned: Localizer | None = None  # clones are made of it, where there is one
        self._tuning = 0
        self._workers = workers
        self._stop_on_failure = stop_on_failure
        self._lanes: list[Lane] = []
        self._sinks: dict[int, SinkThread] = {}
        self._changed = threading.Condition()
        self._stopping = self._closed = self._time_over = False
        self._error: BaseException | None = None
        self._failures: list[str] = []
        self._clock = 0
        self._busy = Busy()
        self._batch_size = BatchSize(max_batch)
        self._times = {stage: StageTimes() for stage in STAGES}
        self._threads: list[threading.Thread] = []
        self._started: float | None = None
        self._ended: float | None = None

    def add(
        self,
        stream: Stream,
        *,
        sinks: Iterable[Sink] = (),
        smooth: Smoothing | Smoother | None = None,
    ) -> None:
        """Add a stream, before `run` or while it runs. The pipeline closes it, and its sinks.

        Args:
            stream: What `open_source` gave.
            sinks: Where its results go; one sink may serve several streams.
            smooth: How its results are made steady, or what does it, for this stream alone. None
                leaves them as they are and does not compare them either.

        Raises:
            InputError: A stream has this name, a rule is for no class of the engine, or it ended.
        """
        with self._changed:
            if self._stopping:
                raise InputError("This pipeline has ended.", hint="Make a new one.")
            if any(lane.stream.name == stream.name for lane in self._lanes):
                raise InputError(
                    f"There is a stream '{stream.name}' already.",
                    hint="Give each source a name: open_source(…, name=…).",
                )
            threads = [self._sink_thread(sink) for sink in sinks]
            spare = _MORE_IN_FLIGHT if stream.policy == "wait" else 0
            lane = Lane(
                stream,
                threads,
                in_flight=self._workers + spare,
                changed=self._wake,
            )
            self._smooth(lane, smooth)
            self._lanes.append(lane)
            running = self._started is not None
        if running:
            stream.start()

    def start(self) -> None:
        """Start every thread and return. Safe to call twice."""
        with self._changed:
            if self._started is not None:
                return
            self._started = time.perf_counter()
            lanes = list(self._lanes)
        for lane in lanes:
            lane.stream.start()
        for number in range(self._workers):
            thread = threading.Thread(
                target=self._work, name=f"bas-edge-infer-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def run(self, *, duration_s: float | None = None) -> PipelineStats:
        """Run until every stream has ended, `stop` is called, or the time is over.

        Returns with every frame in flight handed to its sinks and every sink closed.

        Args:
            duration_s: Longest time in seconds; None has no limit.

        Raises:
            BackendError: The engine failed.
            BaseException: With `stop_on_failure`, what a sink raised.
        """
        self.start()
        deadline = None if duration_s is None else time.monotonic() + duration_s
        try:
            while not self._over():
                if deadline is not None and time.monotonic() >= deadline:
                    self._time_over = True
                    break
                left = _POLL_S if deadline is None else min(_POLL_S, deadline - time.monotonic())
                with self._changed:
                    self._changed.wait(max(0.0, left))
                for lane in list(self._lanes):
                    lane.stream.watch()
                    lane.settle()
        finally:
            self.close()
        if self._error is not None:
            raise self._error
        return self.stats()

    def stop(self) -> None:
        """Let `run` come to its end: frames in flight are finished, then the sinks closed.

        From any thread, and from a signal handler.
        """
        self._stopping = True

    def close(self) -> None:
        """Stop, wait for every thread, close streams and sinks. Safe to call twice."""
        with self._changed:
            if self._closed:
                return
            self._closed = self._stopping = True
        # A live stream has no end that it could miss, and a duration was asked for.
        whole = self._time_over
        cut = [lane for lane in self._lanes if not (whole or lane.done or lane.stream.live)]
        for wait_s in (0.0, 1.0):  # all are told before any is waited for
            for lane in self._lanes:
                lane.stream.close(wait_s)
        self._wake()
        for thread in self._threads:
            thread.join()
        if self._tuned is not None:
            self._tuned.close()
        for lane in self._lanes:
            lane.settle()
        for sink in sorted(
            self._sinks.values(), key=lambda one: isinstance(one.sink, NotifiedSink)
        ):
            in_full = not any(sink in lane.sinks for lane in cut)
            sink.finish(complete=in_full and self._error is None)
        self._ended = time.perf_counter()

    def pause(self, name: str) -> None:
        """Pause one stream; see `Stream.pause`."""
        self._lane(name).stream.pause()

    def resume(self, name: str) -> None:
        """Go on with one stream."""
        self._lane(name).stream.resume()

    def retune(
        self,
        *,
        threshold: float | ThresholdPolicy | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
    ) -> None:
        """Change how maps become boxes, from the next frame on; None leaves a value as it is.

        Raises:
            InputError: A value is out of range; nothing was changed.
        """
        with self._changed:
            former = self._tuned
            self._tuned = self.localizer.clone(
                threshold=threshold, top_k=top_k, min_score=min_score
            )
            self._tuning += 1
            for lane in self._lanes:
                if lane.smoothing is not None:
                    self._smooth(lane, lane.smoothing)
        if former is not None:
            former.close()

    def set_smoothing(self, name: str, smoothing: Smoothing) -> None:
        """Smooth one stream otherwise, from the next result on; it begins without a history."""
        with self._changed:
            self._smooth(self._lane(name), smoothing)

    def smoothing(self, name: str) -> Smoothing | None:
        """How one stream is smoothed; None where it is not, or by something else."""
        return self._lane(name).smoothing

    @property
    def localizer(self) -> Localizer:
        """The engine with the options in use. Not to be closed."""
        return self._localizer if self._tuned is None else self._tuned

    def stats(self) -> PipelineStats:
        """Every count at this moment."""
        began = self._started if self._started is not None else time.perf_counter()
        ended = self._ended if self._ended is not None else time.perf_counter()
        seconds = max(ended - began, 1e-9)
        return PipelineStats(
            seconds=seconds,
            lanes=tuple(lane_stats(lane, seconds) for lane in self._lanes),
            stages={
                stage: {"p50": times.percentile(50), "p90": times.percentile(90)}
                for stage, times in self._times.items()
            },
            stage_times={stage: times.summary() for stage, times in self._times.items()},
            batch_ms=self._batch_size.costs_ms(),
            sinks=tuple(map(sink_stats, tuple(self._sinks.values()))),
            failures=tuple(self._failures),
            stuck=stuck(self._busy),
        )

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _over(self) -> bool:
        return self._stopping or self._error is not None or all(lane.done for lane in self._lanes)

    def _lane(self, name: str) -> Lane:
        for lane in self._lanes:
            if lane.stream.name == name:
                return lane
        known = ", ".join(lane.stream.name for lane in self._lanes) or "none"
        raise InputError(f"There is no stream '{name}'.", hint=f"Streams: {known}.")

    def _smooth(self, lane: Lane, smooth: Smoothing | Smoother | None) -> None:
        if isinstance(smooth, Smoothing):
            lane.smoothing, lane.smoother = smooth, Steadier(self.localizer, smooth)
        else:
            lane.smoothing, lane.smoother = None, smooth

    def _sink_thread(self, sink: Sink) -> SinkThread:
        check_classes(sink, self._localizer.classes)
        if id(sink) not in self._sinks:

            def failed(error: BaseException) -> None:
                self._failures.append(f"{type(sink).__name__}: {redacted(str(error))}")
                if self._stop_on_failure and self._error is None:
                    self._error = error
                self._wake()

            self._sinks[id(sink)] = SinkThread(sink, failed=failed, busy=self._busy)
        return self._sinks[id(sink)]

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # The workers

    def _work(self) -> None:
        _give_way()
        try:
            while not self._stopping and self._error is None:
                with self._changed:
                    localizer, tuning = self.localizer.clone(), self._tuning
                with localizer:
                    while tuning == self._tuning and (jobs := self._take(tuning)):
                        self._localize(localizer, jobs)
        except BaseException as error:  # noqa: BLE001  (raised again by run)
            if self._error is None:
                self._error = error
            self._stopping = True
            self._wake()

    def _take(self, tuning: int) -> list[Job]:
        """Frames to run together, of the streams that waited longest; empty at the end.

        Also empty where the engine was tuned anew.
        """
        with self._changed:
            while True:
                if self._stopping or self._error is not None or tuning != self._tuning:
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

    def _localize(self, localizer: Localizer, jobs: Sequence[Job]) -> None:
        usable: list[tuple[Job, VideoFrame]] = []
        for job in jobs:
            frame = _pixels_of(job)
            if frame is None:
                job.lane.put_back(job.ticket, None, None)
            else:
                usable.append((job, frame))
        if not usable:
            return
        started = time.perf_counter()
        with self._busy.at("The engine"):
            found = localizer.run_batch([frame.pixels for _, frame in usable], color="rgb")
        took_ms = 1000 * (time.perf_counter() - started)
        with self._changed:  # workers share these
            self._batch_size.learn(len(usable), took_ms)
            for stage, times in self._times.items():
                for one in found:
                    times.add(getattr(one.timing, stage))
        for (job, frame), localization in zip(usable, found, strict=True):
            job.lane.put_back(job.ticket, frame, localization)


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


def _pixels_of(job: Job) -> VideoFrame | None:
    """The frame, or None where a decoder gave something that nobody can convert."""
    try:
        return job.frame.frame()
    except Exception:  # noqa: BLE001  (FFmpeg has many; one frame is no reason to stop)
        _log.exception("%s: a frame could not be converted", job.lane.stream.name)
        return None
