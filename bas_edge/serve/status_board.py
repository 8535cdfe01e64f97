"""How the streams are, in the words of the API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bas_edge.finding import summary
from bas_edge.serve.controls import Controls
from bas_edge.serve.live_views import LiveViews
from bas_edge.serve.schema import Age, Health, Latest, SeenObject, StreamList, StreamStatus
from bas_edge.video.frames import utc

if TYPE_CHECKING:
    from bas_edge.video.frames import FrameResult
    from bas_edge.video.pipeline import Pipeline
    from bas_edge.video.pipeline_stats import LaneStats, PipelineStats

__all__ = ["StatusBoard"]

_FRESH_S = 0.25  # counting is not free, and several ask at once


class StatusBoard:
    """Collects numbers from everywhere. From any thread.

    Args:
        pipeline: What runs.
        views: Its newest results.
        controls: What is in use.
        broken: Says why the pipeline does not run any more; "" while it does.
        viewers: How many look.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        views: LiveViews,
        controls: Controls,
        *,
        broken: Callable[[], str],
        viewers: Callable[[], int],
    ) -> None:
        self._pipeline, self._views, self._controls = pipeline, views, controls
        self._broken, self._viewers = broken, viewers
        self._lock = threading.Lock()
        self._held: tuple[float, PipelineStats, StreamList] | None = None

    def streams(self) -> StreamList:
        """Every stream, as it was at most a quarter of a second ago."""
        return self.numbers()[1]

    def forget(self) -> None:
        """Count anew when asked next: something was changed."""
        with self._lock:
            self._held = None

    def stream(self, name: str) -> StreamStatus | None:
        """One stream; None if there is no such."""
        return next((each for each in self.streams().streams if each.name == name), None)

    def health(self) -> Health:
        """Whether everything works that cannot repair itself. It names no stream and no address.

        Who is told "failing" restarts the program, so a sink whose broker is away is well: it has
        a `problem`, which a restart cannot mend.
        """
        reasons = ["The pipeline has stopped: the engine failed."] if self._broken() else []
        stats, listed = self.numbers()
        failed = sum(stream.failed for stream in listed.streams)
        if failed:
            reasons.append(f"{failed} of {len(listed.streams)} streams ended with an error.")
        if stats.failures:
            reasons.append(f"Sinks and smoothers that failed: {len(stats.failures)}.")
        reasons += stats.stuck
        return Health("failing" if reasons else "ok", tuple(reasons))

    def numbers(self) -> tuple[PipelineStats, StreamList]:
        """What the pipeline counted, and what the API says, of the same moment."""
        with self._lock:
            now = time.monotonic()
            if self._held is None or now - self._held[0] > _FRESH_S:
                stats = self._pipeline.stats()
                self._held = now, stats, self._collect(stats)
            return self._held[1:]

    def _collect(self, stats: PipelineStats) -> StreamList:
        broken = self._broken()
        troubles = [f"{sink.kind}: {sink.problem}" for sink in stats.sinks if sink.problem]
        return StreamList(
            streams=tuple(self._status(lane) for lane in stats.lanes),
            seconds=stats.seconds,
            viewers=self._viewers(),
            stages_ms={
                stage: {"p50": times.recent_ms["p50"], "p90": times.recent_ms["p90"]}
                for stage, times in stats.stage_times.items()
                if times.recent_ms
            },
            problems=(*stats.failures, *stats.stuck, *troubles, *([broken] if broken else [])),
            last_event=self._views.log.last,
        )

    def _status(self, lane: LaneStats) -> StreamStatus:
        stream, name = lane.stream, lane.stream.name
        seen = self._views.newest(name)
        smoothing, presets = self._controls.smoothing(name)
        last, age_ms = stream.last_frame_at, lane.ages.recent_ms
        return StreamStatus(
            name=name,
            uri=stream.uri,
            state=stream.state,
            reason=stream.reason,
            failed=stream.failed,
            paused=lane.paused,
            details=stream.details,
            smoothing=smoothing,
            presets=presets,
            fps=self._views.rate(name),
            source_fps=stream.fps,
            results=lane.results,
            found=lane.found,
            delivered=stream.delivered,
            dropped=stream.dropped,
            damaged=stream.damaged,
            unusable=lane.unusable,
            missed=lane.sink_dropped,
            reconnects=self._views.reconnects(name),
            failures=stream.failures,
            gap_s=self._views.gap_s(name),
            silent_s=None if last is None else max(0.0, time.time() - last),
            age_ms=Age(age_ms["p50"], age_ms["p95"]) if age_ms else None,
            latest=None if seen is None else _latest(seen.result),
        )


def _latest(result: FrameResult) -> Latest:
    finding, stability = result.finding, result.stability
    height, width = finding.frame_size
    best = finding.best
    return Latest(
        frame=result.index,
        captured_at=utc(result.frame.captured_at),
        found=finding.found,
        text=summary(finding),
        class_name="" if best is None else best.class_name,
        score=None if best is None else best.score,
        box=(0.0, 0.0, float(width), float(height)) if best is None else best.box,
        objects=tuple(
            SeenObject(one.label, one.class_name, one.box, one.score, one.area)
            for one in finding.objects
        ),
        width=width,
        height=height,
        iou=None if stability is None else stability.iou,
        jitter_px=None if stability is None else stability.jitter_px,
    )
