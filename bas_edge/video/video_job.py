"""Localize every frame of a video file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.pipeline import Pipeline
from bas_edge.video.sinks.annotated_video import AnnotatedVideo
from bas_edge.video.sinks.file_names import as_template
from bas_edge.video.sinks.sink import Sink
from bas_edge.video.sources.frame_queue import Policy
from bas_edge.video.sources.open_source import open_source
from bas_edge.video.sources.video_source import VideoSource
from bas_edge.video.steady.smoothing import Smoothing

if TYPE_CHECKING:
    from bas_edge.localizer import Localizer

__all__ = ["VideoSummary", "localize_video"]


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
        annotated: The video written, or None.
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


def localize_video(
    localizer: Localizer,
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
        localizer: The engine.
        path: The video. A damaged one is localized as far as it decodes; see `damage`.
        annotated: Where to write an mp4 with the boxes drawn; None writes none.
        codec: Its encoder; see `VideoSink`.
        workers: Threads that run the engine; see `open_for_pipeline`.
        policy, stride, max_fps: As for `open_source`; "wait" loses no frame.
        smooth: How results are made steady; None leaves them as they are.
        duration_s: Stop after so many seconds of work; None does all.
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
        source = VideoSource(path)
        counter = _Counter(1000 / source.fps, on_frame)
        stream = open_source(source, policy=policy, stride=stride, max_fps=max_fps)
        pipeline = stack.enter_context(Pipeline(localizer, workers=workers, stop_on_failure=True))
        if annotated is not None:
            to.append(AnnotatedVideo(as_template(annotated), fps=source.fps, codec=codec))
        pipeline.add(stream, sinks=[counter, *to], smooth=smooth)
        refused.pop_all()  # the pipeline closes them
        stats = pipeline.run(duration_s=duration_s)
    if stream.error is not None:
        raise stream.error
    (lane,) = stats.lanes
    return VideoSummary(
        source=source.path,
        frames=lane.results,
        found=lane.found,
        expected_frames=source.frame_count,
        seconds=stats.seconds,
        fps=lane.results / stats.seconds,
        source_fps=source.fps,
        late=counter.late,
        stages=stats.stages,
        annotated=None if annotated is None else Path(annotated),
        damage=stream.damage,
    )


class _Counter:
    """Counts late frames and tells the caller; a `Sink`."""

    def __init__(self, interval_ms: float, on_frame: Callable[[FrameResult], None] | None) -> None:
        self.late = 0
        self._interval_ms = interval_ms
        self._on_frame = on_frame

    def write(self, result: FrameResult) -> None:
        self.late += result.localization.timing.total_ms > self._interval_ms
        if self._on_frame is not None:
            self._on_frame(result)

    def event(self, event: StreamEvent) -> None:
        """A file has nothing to tell."""

    def close(self, *, complete: bool) -> None:
        """Nothing is held."""
