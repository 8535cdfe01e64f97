"""The numbers of the server for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bas_edge import __version__
from bas_edge._require import require
from bas_edge.serve.schema import StreamList, StreamStatus, Tuning
from bas_edge.video.stage_times import BOUNDS_MS, TimesSummary

if TYPE_CHECKING:
    from bas_edge.video.pipeline_stats import PipelineStats, SinkStats

__all__ = ["Metrics"]

_STATES = ("connecting", "running", "stalled", "reconnecting", "ended")
# name, what it is, where it comes from
_COUNTERS: tuple[tuple[str, str, Callable[[StreamStatus], float]], ...] = (
    ("results", "Frames with a result.", lambda one: one.results),
    ("found", "Results with an object.", lambda one: one.found),
    ("frames_delivered", "Frames that the pipeline took.", lambda one: one.delivered),
    ("frames_dropped", "Frames left out by policy, stride or pause.", lambda one: one.dropped),
    ("frames_damaged", "Pictures that did not decode whole.", lambda one: one.damaged),
    ("frames_unusable", "Frames that had no pixels.", lambda one: one.unusable),
    ("results_missed", "Results that sinks missed, slow or failed.", lambda one: one.missed),
    ("reconnects", "Connections that were lost and found again.", lambda one: one.reconnects),
)
_GAUGES: tuple[tuple[str, str, Callable[[StreamStatus], float]], ...] = (
    ("fps", "Results a second, lately.", lambda one: one.fps),
    ("source_fps", "Frames a second that arrive, lately.", lambda one: one.source_fps),
    ("failed", "1 where the stream ended with an error.", lambda one: float(one.failed)),
    ("paused", "1 where the stream is paused.", lambda one: float(one.paused)),
    ("gap_seconds", "How long the connection was lost last.", lambda one: one.gap_s),
)
_OF_SINKS: tuple[tuple[str, str, Callable[[SinkStats], float]], ...] = (
    ("sinks_failed", "Sinks that failed and get nothing any more.", lambda one: one.failed),
    (
        "sinks_troubled",
        "Sinks that wait for something, such as a broker.",
        lambda one: bool(one.problem),
    ),
    ("sink_dropped", "What a sink was given and gave up.", lambda one: one.dropped),
)


class Metrics:
    """Collects at each scrape; keeps nothing.

    Args:
        numbers: What the pipeline counts, and the streams.
        tuning: What is in use now.
        encoded: How many pictures were made for viewers.
        refused: Requests that were refused, by reason.

    Raises:
        MissingExtraError: prometheus-client is not installed.
    """

    def __init__(
        self,
        numbers: Callable[[], tuple[PipelineStats, StreamList]],
        tuning: Callable[[], Tuning],
        encoded: Callable[[], int],
        refused: Callable[[], Mapping[str, int]],
    ) -> None:
        self._client: Any = require("prometheus_client", extra="serve", purpose="Serving metrics")
        self._families: Any = require(
            "prometheus_client.core", extra="serve", purpose="Serving metrics"
        )
        self._numbers, self._tuning = numbers, tuning
        self._encoded, self._refused = encoded, refused
        self._registry = self._client.CollectorRegistry()
        self._registry.register(self)

    def text(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        return self._client.generate_latest(self._registry), self._client.CONTENT_TYPE_PLAIN_0_0_4

    def describe(self) -> list[Any]:
        """No names before they are asked for: registering then collects nothing."""
        return []

    def collect(self) -> Iterator[Any]:
        """Every family of metrics, for the registry."""
        (stats, listed), tuning = self._numbers(), self._tuning()
        info = self._gauge("info", "What runs here; always 1.", ("version", "engine", "backend"))
        info.add_metric((__version__, tuning.engine, tuning.backend), 1)
        yield info
        yield self._one("uptime_seconds", "Since the pipeline started.", listed.seconds)
        yield self._one("viewers", "Pages and MJPEG streams that look.", listed.viewers)
        encoded = self._counter("views_encoded", "Pictures made for viewers.", ())
        encoded.add_metric((), self._encoded())
        yield encoded
        refused = self._counter("requests_refused", "Requests that were refused.", ("reason",))
        for reason, count in self._refused().items():
            refused.add_metric((reason,), count)
        yield refused
        yield self._histogram(
            "stage_seconds",
            "Time of a frame in each stage.",
            "stage",
            {stage.removesuffix("_ms"): times for stage, times in stats.stage_times.items()},
        )
        yield self._histogram(
            "stream_age_seconds",
            "Capture to result.",
            "stream",
            {lane.stream.name: lane.ages for lane in stats.lanes},
        )
        yield from self._of_sinks(stats.sinks)
        yield from self._of_streams(listed.streams)

    def _of_sinks(self, sinks: tuple[SinkStats, ...]) -> Iterator[Any]:
        for name, meaning, value in _OF_SINKS:
            make = self._counter if name == "sink_dropped" else self._gauge
            family = make(name, meaning, ("sink",))
            sums: dict[str, float] = {}
            for sink in sinks:  # several of a kind are one: what tells them apart is an address
                sums[sink.kind] = sums.get(sink.kind, 0) + value(sink)
            for kind, total in sums.items():
                family.add_metric((kind,), total)
            yield family

    def _of_streams(self, streams: tuple[StreamStatus, ...]) -> Iterator[Any]:
        state = self._gauge("stream_state", "1 for the state it is in.", ("stream", "state"))
        for stream in streams:
            for each in _STATES:
                state.add_metric((stream.name, each), float(each == stream.state))
        yield state
        for make, prefix, rows in (
            (self._counter, "stream_", _COUNTERS),
            (self._gauge, "stream_", _GAUGES),
        ):
            for name, meaning, value in rows:
                family = make(f"{prefix}{name}", meaning, ("stream",))
                for stream in streams:
                    family.add_metric((stream.name,), value(stream))
                yield family

    def _one(self, name: str, meaning: str, value: float) -> Any:
        family = self._gauge(name, meaning, ())
        family.add_metric((), value)
        return family

    def _gauge(self, name: str, meaning: str, labels: tuple[str, ...]) -> Any:
        return self._families.GaugeMetricFamily(f"bas_edge_{name}", meaning, labels=labels)

    def _counter(self, name: str, meaning: str, labels: tuple[str, ...]) -> Any:
        return self._families.CounterMetricFamily(f"bas_edge_{name}", meaning, labels=labels)

    def _histogram(
        self, name: str, meaning: str, label: str, times: Mapping[str, TimesSummary]
    ) -> Any:
        family = self._families.HistogramMetricFamily(f"bas_edge_{name}", meaning, labels=(label,))
        for each, summary in times.items():
            at_most = zip(BOUNDS_MS, summary.at_most, strict=True)
            buckets = [(str(bound / 1000), count) for bound, count in at_most]
            buckets.append(("+Inf", summary.count))
            family.add_metric((each,), buckets, summary.sum_ms / 1000)
        return family
