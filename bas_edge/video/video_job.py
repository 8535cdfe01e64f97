"""Localize every frame of a video file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.pipeline import Pipeline
from bas_edge.video.pipeline_stats import PipelineStats
from bas_edge.video.sinks.annotated_video import AnnotatedVideo
from bas_edge.video.sinks.file_names import as_template, partial
from bas_edge.video.sinks.sink import Sink
from bas_edge.video.sources.frame_queue import Policy
from bas_edge.video.sources.open_source import open_source
from bas_edge.video.sources.video_source import VideoSource
from bas_edge.video.steady.smoothing import Smoothing

if TYPE_CHECKING:
    from bas_edge.video.frame_engine import FrameEngine

__all__ = ["VideoJob", "VideoSummary", "localize_video"]


@dataclass(frozen=True, slots=True)
class VideoSummary:
    """How one video went.

    Attributes:
        source: The video file.
        frames: Frames localized.
        found: Frames with an object.
        expected_frames: What the file declares, or an estimate; None if unknown.
        seconds: Wall time from the first frame asked for to the last one written.
        fps: `frames / seconds`: decoding, inference, drawing and encoding overlapped.
        source_fps: The video's own frame rate.
        late: Frames that took longer (pre + infer + post) than the video's frame interval.
        stages: {"pre_ms": {"p50": …, "p90": …}, "infer_ms", "post_ms", "total_ms"}.
        annotated: The video written, `NAME.partial.mp4` where it was stopped; None: none was.
        damage: None, or one sentence on what could not be decoded.
    """

    source: Path
    frames: int
    found: int
    expected_frames: int | None
    seconds: float
    fps: float
    source_fps: float
    late: int
    stages: dict[str, dict[str, float]]
    annotated: Path | None
    damage: str | None


class VideoJob:
    """One video file on its way through a pipeline, which is given `stream` and `sinks`.

    Args: As for `localize_video`, and
        name: That of the stream; by default made of the file's.

    Attributes:
        stream: Its frames.
        sinks: What counts them, and the annotated copy.

    Raises:
        InputError: The file is missing or not a video, or there is no such encoder.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        annotated: str | Path | None = None,
        codec: str = "auto",
        policy: Policy = "wait",
        stride: int = 1,
        max_fps: float | None = None,
        duration_s: float | None = None,
        on_frame: Callable[[FrameResult], None] | None = None,
    ) -> None:
        self._source = VideoSource(path, until_s=duration_s)
        self._counter = _Counter(1000 / self._source.fps, on_frame)
        self._copy = None if annotated is None else Path(annotated)
        self.stream = open_source(
            self._source, name=name, policy=policy, stride=stride, max_fps=max_fps
        )
        self.sinks: list[Sink] = [self._counter]
        if annotated is not None:
            copy = AnnotatedVideo(as_template(annotated), fps=self._source.fps, codec=codec)
            self.sinks.append(copy)

    @property
    def finished(self) -> bool:
        """Whether every frame came through, once the pipeline is closed."""
        return self._counter.finished

    def summary(self, stats: PipelineStats) -> VideoSummary:
        """How it went, once the pipeline is closed.

        Raises:
            BaseException: What ended the stream before its time.
        """
        if self.stream.error is not None:
            raise self.stream.error
        (lane,) = (one for one in stats.lanes if one.stream.name == self.stream.name)
        written = self._copy
        if written is not None and not self.finished:
            written = partial(written)
        return VideoSummary(
            source=self._source.path,
            frames=lane.results,
            found=lane.found,
            expected_frames=self._source.frame_count,
            seconds=stats.seconds,
            fps=lane.results / stats.seconds,
            source_fps=self._source.fps,
            late=self._counter.late,
            stages=stats.stages,
            annotated=written if written is not None and written.is_file() else None,
            damage=self.stream.damage,
        )


def localize_video(
    engine: FrameEngine,
    path: str | Path,
    *,
    annotated: str | Path | None = None,
    codec: str = "auto",
    workers: int = 1,
    policy: Policy = "wait",
    stride: int = 1,
    max_fps: float | None = None,
    smooth: Smoothing | None = None,
    duration_s: float | None = None,
    sinks: Iterable[Sink] = (),
    on_frame: Callable[[FrameResult], None] | None = None,
) -> VideoSummary:
    """Localize every frame of a video file, in constant memory.

    Args:
        engine: A Localizer or a Segmenter.
        path: The video. A damaged one is localized as far as it decodes; see `damage`.
        annotated: Where to write an mp4 with what was found drawn; None writes none.
        codec: Its encoder; see `VideoSink`.
        workers: Threads that run the engine; see `open_for_pipeline`.
        policy, stride, max_fps: As for `open_source`; "wait" loses no frame.
        smooth: How results are made steady; None leaves them as they are.
        duration_s: Only the first so many seconds of the video; None does all.
        sinks: More of them. They are closed in any case, also where an option is refused.
        on_frame: Called with each result, in order, on one thread of the pipeline. What it
            raises stops the work and is raised here.

    Raises:
        InputError: The file is missing or not a video, the encoder cannot be used, or an option is
            out of range.
        BackendError: Inference failed.
        MissingExtraError: PyAV is not installed.
    """
    to = list(sinks)
    with ExitStack() as stack:
        refused = stack.enter_context(ExitStack())
        for sink in to:
            refused.callback(sink.close, complete=False)
        job = VideoJob(
            path,
            annotated=annotated,
            codec=codec,
            policy=policy,
            stride=stride,
            max_fps=max_fps,
            duration_s=duration_s,
            on_frame=on_frame,
        )
        pipeline = stack.enter_context(Pipeline(engine, workers=workers, stop_on_failure=True))
        pipeline.add(job.stream, sinks=[*job.sinks, *to], smooth=smooth)
        refused.pop_all()  # the pipeline closes them
        stats = pipeline.run()
    return job.summary(stats)


class _Counter:
    """Counts late frames and tells the caller; a `Sink`."""

    def __init__(self, interval_ms: float, on_frame: Callable[[FrameResult], None] | None) -> None:
        self.late = 0
        self.finished = False
        self._interval_ms = interval_ms
        self._on_frame = on_frame

    def write(self, result: FrameResult) -> None:
        self.late += result.finding.timing.total_ms > self._interval_ms
        if self._on_frame is not None:
            self._on_frame(result)

    def event(self, event: StreamEvent) -> None:
        """A file has nothing to tell."""

    def close(self, *, complete: bool) -> None:
        self.finished = complete
