"""A pipeline in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from bas_edge.video.busy import Busy
from bas_edge.video.lane import Lane
from bas_edge.video.sink_thread import SinkThread
from bas_edge.video.sources.stream import StreamStats
from bas_edge.video.stage_times import TimesSummary

__all__ = ["LaneStats", "PipelineStats", "SinkStats", "lane_stats", "sink_stats", "stuck"]

_HANGS_S = 30.0  # no frame takes an engine that long, and no result a sink


@dataclass(frozen=True, slots=True)
class LaneStats:
    """One stream of a pipeline in numbers.

    Attributes:
        stream: The source's own numbers.
        results: Frames that were localized.
        found: Results with an object.
        unusable: Frames that arrived but could not be converted to pixels.
        fps: Results a second since the pipeline started.
        age_ms: From capture to result, since it started: {"p50": …, "p95": …}.
        ages: The same of the last minute, and as a histogram.
        stability: How steady its boxes are; see `StabilitySummary.to_dict`. No frames where its
            results are not compared.
        sink_dropped: Results that its sinks missed: they were slow, or had failed.
        paused: Whether it is paused.
    """

    stream: StreamStats
    results: int
    found: int
    unusable: int
    fps: float
    age_ms: dict[str, float]
    ages: TimesSummary
    stability: dict[str, float | int]
    sink_dropped: int
    paused: bool


@dataclass(frozen=True, slots=True)
class SinkStats:
    """One sink of a pipeline.

    Attributes:
        kind: Its class: "Mqtt".
        failed: Whether it raised an error, and so gets nothing any more.
        problem: What keeps it from its work and may go by itself, such as a broker that is away,
            in a sentence; "" if nothing does.
        dropped: What it was given and gave up, by its own count.
    """

    kind: str
    failed: bool
    problem: str
    dropped: int


@dataclass(frozen=True, slots=True)
class PipelineStats:
    """A pipeline in numbers.

    Attributes:
        seconds: Since it started.
        lanes: By stream, in the order they were added.
        stages: {"pre_ms": {"p50": …, "p90": …}, "infer_ms", "post_ms", "total_ms"} of a frame,
            since it started.
        stage_times: The same of the last minute, and as histograms.
        batch_ms: What a frame costs in a batch of each size that was tried, in ms.
        sinks: Each once, in the order they were added.
        failures: What sinks and smoothers raised, in words.
        stuck: The engine and sinks that have been at one step for over 30 s, in words.
    """

    seconds: float
    lanes: tuple[LaneStats, ...]
    stages: dict[str, dict[str, float]]
    stage_times: dict[str, TimesSummary]
    batch_ms: dict[int, float]
    sinks: tuple[SinkStats, ...]
    failures: tuple[str, ...]
    stuck: tuple[str, ...]

    @property
    def results(self) -> int:
        """Frames that were localized, of all streams."""
        return sum(lane.results for lane in self.lanes)


def lane_stats(lane: Lane, seconds: float) -> LaneStats:
    """The numbers of one lane of a pipeline that has run for `seconds`."""
    return LaneStats(
        stream=lane.stream.stats(),
        results=lane.results,
        found=lane.found,
        unusable=lane.unusable,
        fps=lane.results / seconds,
        age_ms={"p50": lane.age_ms.percentile(50), "p95": lane.age_ms.percentile(95)},
        ages=lane.age_ms.summary(),
        stability=lane.stability.to_dict(),
        sink_dropped=sum(sink.missed[lane] for sink in lane.sinks),
        paused=lane.stream.paused,
    )


def sink_stats(thread: SinkThread) -> SinkStats:
    """How a sink is; what it says of itself, it says in attributes that most have not."""
    failed = thread.error is not None
    return SinkStats(
        kind=type(thread.sink).__name__,
        failed=failed,
        problem="" if failed else getattr(thread.sink, "problem", None) or "",
        dropped=getattr(thread.sink, "dropped", 0),
    )


def stuck(busy: Busy) -> tuple[str, ...]:
    """What hangs, a sentence each."""
    return tuple(
        f"{what} has not come back for {seconds:.0f} s."
        for what, seconds in busy.longer_than(_HANGS_S)
    )
