"""`bas-edge run` on cameras and network streams, all at once, until they end or are stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bas_edge.cli.run_output import Results
from bas_edge.cli.run_request import Opened, RunRequest
from bas_edge.errors import BasEdgeError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from bas_edge.video.frames import FrameResult, StreamEvent
    from bas_edge.video.inputs import Inputs
    from bas_edge.video.pipeline_stats import LaneStats, PipelineStats
    from bas_edge.video.sinks.sink import Sink
    from bas_edge.video.sources.stream import Stream

__all__ = ["LiveRun"]


class LiveRun:
    """Ctrl-C is how it ends well.

    Attributes:
        failures: A sentence for each stream or sink that failed.
        error: What a stream ended with, if one did.
    """

    def __init__(
        self,
        request: RunRequest,
        opened: Opened,
        folder: Path | None,
        results: Results,
        bar: Progress,
    ) -> None:
        self.failures: list[str] = []
        self.error: BasEdgeError | None = None
        self._request = request
        self._opened = opened
        self._folder = folder
        self._results = results
        self._bar = bar
        self._stats: PipelineStats | None = None

    def run(self, found: Inputs) -> None:
        """Run every source until it ends, the time is over, or Ctrl-C.

        Raises:
            BackendError: The engine failed.
        """
        from bas_edge.cli.run_files import FileRun
        from bas_edge.cli.run_output import AnnotatedNames
        from bas_edge.video.pipeline import Pipeline

        names = AnnotatedNames(self._folder, list(found.images))
        images = FileRun(self._request, self._opened, names, self._results, self._bar)
        images.images(found.images)
        self.failures += images.failures
        assert self._opened.videos is not None
        streams = self._streams(found)
        with Pipeline(self._opened.videos, workers=self._opened.workers) as pipeline:
            shared = self._sinks()
            for stream in streams:
                pipeline.add(
                    stream,
                    sinks=[*shared, _Lines(self._results, self._bar)],
                    smooth=self._request.smoothing("light"),
                )
            try:
                self._stats = pipeline.run(duration_s=self._request.duration_s)
            except KeyboardInterrupt:
                self._stats = pipeline.stats()
        self.failures += self._stats.failures
        for stream in streams:
            if stream.error is not None:
                self.failures.append(str(stream.error))
                if isinstance(stream.error, BasEdgeError):
                    self.error = stream.error

    def summary(self) -> dict[str, Any]:
        """For the last line of --json."""
        return {} if self._stats is None else {"streams": [*map(_summary, self._stats.lanes)]}

    def _streams(self, found: Inputs) -> list[Stream]:
        from bas_edge.video.sources.open_source import open_source

        request, streams, names = self._request, [], set[str]()
        for source in (*found.live, *map(str, found.videos)):
            stream = open_source(
                source,
                policy=request.policy or "newest",
                stride=request.stride,
                max_fps=request.max_fps,
            )
            name, number = stream.name, 2
            while stream.name in names:
                stream.name, number = f"{name}-{number}", number + 1
            names.add(stream.name)
            streams.append(stream)
        return streams

    def _sinks(self) -> list[Sink]:
        from bas_edge.video.sinks.annotated_video import AnnotatedVideo
        from bas_edge.video.sinks.file_names import as_template

        sinks = self._request.more_sinks(live=True)
        if self._request.save and self._folder is not None:
            path = Path(as_template(self._folder)) / "{stream}-{date}-{time}.mp4"
            sinks.append(AnnotatedVideo(path, codec=self._request.codec, live=True, segment_s=600))
        return sinks


class _Lines:
    """Prints and shows what happens; a `Sink`."""

    def __init__(self, results: Results, bar: Progress) -> None:
        self._results = results
        self._bar = bar
        self._task: TaskID | None = None

    def write(self, result: FrameResult) -> None:
        if self._task is None:
            self._task = self._bar.add_task(result.stream, total=None, note="")
        self._results.add(result.to_dict())
        found = result.localization
        what = f"{found.class_name} {found.score:.2f}" if found.found else "nothing"
        self._bar.update(self._task, advance=1, note=f"{what}, {result.age_ms:.0f} ms old")

    def event(self, event: StreamEvent) -> None:
        self._results.add(event.to_dict())
        text = f"{event.stream}: {event.state}" + (f": {event.reason}" if event.reason else "")
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self, *, complete: bool) -> None:
        """The lines are closed by who opened them."""


def _summary(lane: LaneStats) -> dict[str, Any]:
    return {
        "stream": lane.stream.name,
        "source": lane.stream.uri,
        "results": lane.results,
        "found": lane.found,
        "fps": round(lane.fps, 2),
        "age_ms": {name: round(value, 2) for name, value in lane.age_ms.items()},
        "decoded": lane.stream.decoded,
        "dropped": lane.stream.dropped,
        "damaged": lane.stream.damaged,
        "connections": lane.stream.connections,
        "sink_dropped": lane.sink_dropped,
        "stability": lane.stability,
        "reason": lane.stream.reason,
    }
