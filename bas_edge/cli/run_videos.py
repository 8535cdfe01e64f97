"""`bas-edge run` on video files, one after another, and on cameras, all at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bas_edge.cli.output import counted
from bas_edge.cli.run_ending import Ending
from bas_edge.cli.run_outcome import Outcome
from bas_edge.cli.run_output import CopyNames, Results, numbered
from bas_edge.cli.run_request import RunRequest
from bas_edge.cli.run_sinks import CameraLines, FileLines, Watched
from bas_edge.errors import BasEdgeError, InputError, StreamTimeoutError

if TYPE_CHECKING:
    from rich.progress import Progress

    from bas_edge.video import PipelineStats
    from bas_edge.video.frame_engine import FrameEngine
    from bas_edge.video.inputs import Inputs
    from bas_edge.video.pipeline import Pipeline
    from bas_edge.video.pipeline_stats import LaneStats
    from bas_edge.video.sinks.sink import Sink
    from bas_edge.video.sources.stream import Stream
    from bas_edge.video.video_job import VideoJob

__all__ = ["VideoRun"]


class VideoRun:
    """What cannot be used is named and skipped.

    Args:
        request: What was asked for.
        engine: What runs.
        workers: Threads that run it.
        folder: Where videos of cameras go; None: nowhere.
        names: Where copies of files go.
        results: Where lines go.
        bar: Where progress is shown.
        ending: What a signal asks for.
        outcome: Filled in.
    """

    def __init__(
        self,
        request: RunRequest,
        engine: FrameEngine,
        workers: int,
        *,
        folder: Path | None,
        names: CopyNames,
        results: Results,
        bar: Progress,
        ending: Ending,
        outcome: Outcome,
    ) -> None:
        self._request = request
        self._engine = engine
        self._workers = workers
        self._folder = folder
        self._names = names
        self._results = results
        self._bar = bar
        self._ending = ending
        self._outcome = outcome
        self._stream_names: dict[Path | str, str] = {}
        self._gone: BrokenPipeError | None = None

    def run(self, found: Inputs) -> None:
        """Run the engine on all of it.

        Raises:
            KeyboardInterrupt: A signal came before the last file was through; without cameras.
            BackendError: The engine failed.
            BasEdgeError: A result cannot be written; without cameras.
        """
        self._stream_names = _stream_names(found)
        if found.live:
            self._together(found)
            return
        for file in found.videos:
            if self._ending.asked:
                raise KeyboardInterrupt
            self._file(file)
        if self._outcome.cut is not None:
            raise KeyboardInterrupt

    def _file(self, file: Path) -> None:
        from bas_edge.video.pipeline import Pipeline

        with self._skipping(file):
            with Pipeline(self._engine, workers=self._workers, stop_on_failure=True) as pipeline:
                job = self._add_file(pipeline, file, self._request.window())
                with self._ending.stops(pipeline.stop):
                    stats = pipeline.run()
            self._sum_up(file, job, stats)

    def _together(self, found: Inputs) -> None:
        """Every source at once, until all end, their time is over, or a signal comes."""
        from bas_edge.video.pipeline import Pipeline

        request, alone = self._request, not found.videos and len(found.live) == 1
        jobs: dict[Path, VideoJob] = {}
        cameras: list[tuple[Stream, CameraLines]] = []
        watched: list[Watched] = []
        with Pipeline(self._engine, workers=self._workers) as pipeline:

            def gone(error: BrokenPipeError) -> None:
                self._gone = error
                pipeline.stop()

            def watch(sink: Sink) -> Sink:
                watched.append(Watched(sink, say=self._say, gone=gone))
                return watched[-1]

            shown = [watch(sink) for sink in request.window()]
            for file in found.videos:
                with self._skipping(file):
                    jobs[file] = self._add_file(pipeline, file, shown, watch)
            recorders = [watch(sink) for sink in self._recorder()]
            for uri in found.live:
                stream = self._open_camera(uri)
                lines = CameraLines(self._results, self._bar, say=self._say, alone=alone)
                sinks = [watch(lines), *shown, *recorders]
                pipeline.add(stream, sinks=sinks, smooth=request.smoothing(self._engine, "light"))
                cameras.append((stream, lines))
            with self._ending.stops(pipeline.stop):
                if not jobs:
                    stats = pipeline.run(duration_s=request.duration_s)
                else:  # files end by themselves
                    with _closed_after(request.duration_s, [stream for stream, _ in cameras]):
                        stats = pipeline.run()
        if self._gone is not None:
            raise self._gone
        self._outcome.losses += [*stats.failures, *(one.losses for one in watched if one.losses)]
        for file, job in jobs.items():
            with self._skipping(file):
                self._sum_up(file, job, stats)
        for lane, (stream, lines) in zip(stats.lanes[len(jobs) :], cameras, strict=True):
            self._sum_up_camera(lane, stream, lines, stats.seconds)

    def _add_file(
        self,
        pipeline: Pipeline,
        file: Path,
        also: list[Sink],
        watch: Callable[[Sink], Sink] = lambda sink: sink,
    ) -> VideoJob:
        from bas_edge.video.video_job import VideoJob

        request, copy = self._request, self._names.of(file)
        job = VideoJob(
            file,
            name=self._stream_names[file],
            annotated=copy,
            codec=request.codec,
            policy=request.policy or "wait",
            stride=request.stride,
            max_fps=request.max_fps,
            duration_s=request.duration_s,
        )
        lines = FileLines(self._results, self._bar, file, copy)
        own = [watch(sink) for sink in (lines, *job.sinks)]
        pipeline.add(job.stream, sinks=[*own, *also], smooth=request.smoothing(self._engine, "off"))
        return job

    def _open_camera(self, uri: str) -> Stream:
        from bas_edge.video.sources.open_source import open_source

        return open_source(
            uri,
            name=self._stream_names[uri],
            policy=self._request.policy or "newest",
            stride=self._request.stride,
            max_fps=self._request.max_fps,
        )

    def _recorder(self) -> list[Sink]:
        from bas_edge.video.sinks.annotated_video import AnnotatedVideo
        from bas_edge.video.sinks.file_names import as_template

        if not self._request.save or self._folder is None:
            return []
        path = Path(as_template(self._folder)) / "{stream}-{date}-{time}.mp4"
        return [AnnotatedVideo(path, codec=self._request.codec, live=True, segment_s=600)]

    @contextlib.contextmanager
    def _skipping(self, file: Path) -> Iterator[None]:
        """A file that cannot be used is named, and that is all."""
        try:
            yield
        except InputError as error:
            self._outcome.failures.append(f"{error} {error.hint or ''}".rstrip())
            line = {"source": str(file), "error": str(error)}
            self._results.add(line, self._stream_names[file])

    def _sum_up(self, file: Path, job: VideoJob, stats: PipelineStats) -> None:
        summary = job.summary(stats)
        self._outcome.videos.append(summary)
        if summary.damage is not None:
            self._outcome.failures.append(summary.damage)
        elif not job.finished:
            self._outcome.cut = summary
            frames = counted(summary.frames, "frame")
            self._outcome.failures.append(f"{file} was stopped after {frames}.")

    def _sum_up_camera(
        self, lane: LaneStats, stream: Stream, lines: CameraLines, seconds: float
    ) -> None:
        self._outcome.streams.append(_numbers(lane))
        error = stream.error
        if error is None and lane.stream.decoded == lane.stream.damaged:
            error = lines.error or StreamTimeoutError(
                f"{stream.uri} gave no frame in {seconds:.0f} s.",
                hint="Check that the camera sends, and give it more time.",
            )
        if error is not None:
            self._outcome.failures.append(str(error))
        if isinstance(error, BasEdgeError):
            self._outcome.errors.append(error)

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal was closed
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _stream_names(found: Inputs) -> dict[Path | str, str]:
    """A name for each video and each camera, with a number where two are the same."""
    from bas_edge.video.sources.addresses import name_of

    names: dict[Path | str, str] = {}
    sources: list[Path | str] = [*found.videos, *found.live]
    for source in sources:
        own = name_of(source) if isinstance(source, str) else source.stem
        taken = set(names.values())
        names[source] = next(name for name in numbered(own) if name not in taken)
    return names


@contextlib.contextmanager
def _closed_after(duration_s: float | None, streams: list[Stream]) -> Iterator[None]:
    """Close these streams after so many seconds; None never does."""

    def close() -> None:
        for stream in streams:
            stream.close(wait_s=0.0)  # the pipeline waits for all of them together

    timer = threading.Timer(duration_s or 0.0, close)
    if duration_s is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _numbers(lane: LaneStats) -> dict[str, Any]:
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
