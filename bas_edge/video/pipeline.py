"""Any number of streams through one engine: read ∥ infer ∥ write, nothing waits for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from bas_edge.errors import InputError
from bas_edge.video.busy import Busy
from bas_edge.video.frame_engine import FrameEngine, as_localizer, checked_smoothing
from bas_edge.video.lane import Lane, Smoother
from bas_edge.video.pipeline_stats import PipelineStats, lane_stats, sink_stats, stuck
from bas_edge.video.sink_thread import SinkThread
from bas_edge.video.sinks.event_rules import check_sink
from bas_edge.video.sinks.sink import NotifiedSink, Sink
from bas_edge.video.sources.addresses import redacted
from bas_edge.video.sources.stream import Stream
from bas_edge.video.steady.smoothing import Smoothing
from bas_edge.video.steady.steadier import Steadier
from bas_edge.video.workers import Workers

if TYPE_CHECKING:
    from bas_edge.engine.manifest import ThresholdPolicy
    from bas_edge.localizer import Localizer

__all__ = ["Pipeline"]

_POLL_S = 0.25  # how often stalls are looked for, and signals let in
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
        engine: A Localizer or a Segmenter. It is cloned, and stays the caller's.
        workers: How many threads run it; see `open_for_pipeline`.
        max_batch: Most frames at once.
        stop_on_failure: Stop everything when a sink or a smoother fails, and raise what it raised.
    """

    def __init__(
        self,
        engine: FrameEngine,
        *,
        workers: int = 1,
        max_batch: int = 8,
        stop_on_failure: bool = False,
    ) -> None:
        if not 1 <= workers <= 64:
            raise InputError(f"workers is {workers}, but must be 1 to 64.")
        if max_batch < 1:
            raise InputError(f"max_batch is {max_batch}, but must be 1 or more.")
        self._stop_on_failure = stop_on_failure
        self._lanes: list[Lane] = []
        self._sinks: dict[int, SinkThread] = {}
        self._changed = threading.Condition()
        self._stopping = self._time_over = False
        self._cut: list[Lane] | None = None  # by close: files that have not come to their end
        self._error: BaseException | None = None
        self._failures: list[str] = []
        self._busy = Busy()
        self._workers = Workers(
            engine,
            workers,
            max_batch=max_batch,
            lanes=self._lanes,
            changed=self._changed,
            busy=self._busy,
            over=lambda: self._stopping or self._error is not None,
            failed=self._engine_failed,
        )
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
            InputError: The pipeline has another stream of this name, or has ended; results have
                nothing that could be smoothed (`boxes_only`, or of a Segmenter); or a sink asks
                for a class or a score that the engine does not give.
        """
        smooth = checked_smoothing(self.engine, smooth)
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
                in_flight=self._workers.count + spare,
                changed=self._wake,
                failed=self._part_failed,
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
        self._workers.start()

    def run(self, *, duration_s: float | None = None) -> PipelineStats:
        """Run until every stream has ended, `stop` is called, or the time is over.

        Returns with every frame in flight handed to its sinks and every sink closed.

        Args:
            duration_s: Longest time in seconds; None has no limit.

        Raises:
            BackendError: The engine failed.
            BaseException: With `stop_on_failure`, what a sink or a smoother raised.
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
        """Stop, wait for every thread, close streams and sinks. A second call does what is left."""
        with self._changed:
            if self._ended is not None:
                return
            self._stopping = True
            if self._cut is None:
                self._cut = [lane for lane in self._lanes if self._cut_short(lane)]
        try:
            for wait_s in (0.0, 1.0):  # all are told before any is waited for
                for lane in self._lanes:
                    lane.stream.close(wait_s)
            self._wake()
            self._workers.close()
            for lane in self._lanes:
                lane.settle()
        finally:  # whatever happens, files are to play
            for sink in sorted(
                self._sinks.values(), key=lambda one: isinstance(one.sink, NotifiedSink)
            ):
                in_full = not any(sink in lane.sinks for lane in self._cut)
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
            InputError: A value is out of range, the pipeline has ended, or runs a Segmenter;
                nothing was changed.
        """
        self._workers.retune(
            threshold=threshold, top_k=top_k, min_score=min_score, also=self._smooth_anew
        )

    def set_smoothing(self, name: str, smoothing: Smoothing) -> None:
        """Smooth one stream otherwise, from the next result on; it begins without a history.

        Raises:
            InputError: There is no such stream, or results have nothing that could be smoothed.
        """
        smooth = checked_smoothing(self.engine, smoothing)
        with self._changed:
            self._smooth(self._lane(name), smooth)

    def smoothing(self, name: str) -> Smoothing | None:
        """How one stream is smoothed; None where it is not, or by something else."""
        return self._lane(name).smoothing

    @property
    def engine(self) -> FrameEngine:
        """The engine with the options in use. Not to be closed."""
        return self._workers.engine

    @property
    def localizer(self) -> Localizer:
        """`engine`, where it is a Localizer.

        Raises:
            InputError: It is another one.
        """
        return as_localizer(self.engine, "Pipeline.localizer", "Use Pipeline.engine.")

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
                for stage, times in self._workers.times.items()
            },
            stage_times={stage: times.summary() for stage, times in self._workers.times.items()},
            batch_ms=self._workers.batch_ms(),
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

    def _cut_short(self, lane: Lane) -> bool:
        """Whether its sinks miss the end of a stream that has one."""
        if lane.stream.live:
            return False
        asked_for = lane.done or self._time_over
        return not asked_for or lane.stream.error is not None

    def _smooth(self, lane: Lane, smooth: Smoothing | Smoother | None) -> None:
        if isinstance(smooth, Smoothing):
            lane.smoothing, lane.smoother = smooth, Steadier(self.localizer, smooth)
        else:
            lane.smoothing, lane.smoother = None, smooth

    def _smooth_anew(self) -> None:
        for lane in self._lanes:
            if lane.smoothing is not None:
                self._smooth(lane, lane.smoothing)

    def _engine_failed(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._stopping = True
        self._wake()

    def _part_failed(self, what: str, error: BaseException) -> None:
        """A sink or a smoother raised."""
        self._failures.append(f"{what}: {redacted(str(error))}")
        if self._stop_on_failure and self._error is None:
            self._error = error
        self._wake()

    def _sink_thread(self, sink: Sink) -> SinkThread:
        check_sink(sink, self.engine.manifest)
        if id(sink) not in self._sinks:
            failed = partial(self._part_failed, type(sink).__name__)
            self._sinks[id(sink)] = SinkThread(sink, failed=failed, busy=self._busy)
        return self._sinks[id(sink)]

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
