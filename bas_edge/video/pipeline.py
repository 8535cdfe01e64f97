"""Localize every frame of a video: read ahead, infer, draw and write behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bas_edge.video.frames import FrameResult, VideoFrame
from bas_edge.video.overlap import WriteBehind, read_ahead
from bas_edge.video.sinks import VideoSink
from bas_edge.video.sources import VideoSource
from bas_edge.video.stage_times import StageTimes

if TYPE_CHECKING:
    from bas_edge.localizer import Localizer
    from bas_edge.results import Localization

__all__ = ["VideoSummary", "localize_video"]

QUEUE_DEPTH = 3
STAGES = ("pre_ms", "infer_ms", "post_ms", "total_ms")


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
    on_frame: Callable[[FrameResult], None] | None = None,
) -> VideoSummary:
    """Localize every frame of a video file, in constant memory.

    Args:
        localizer: Used from the calling thread only.
        path: The video. A damaged one is localized as far as it decodes; see `damage`.
        annotated: Where to write an mp4 with the boxes drawn; None writes none.
        codec: Its encoder; see `VideoSink`.
        on_frame: Called on the calling thread with each result, in order.

    Raises:
        InputError: The file is missing or not a video, or the encoder cannot be used.
        BackendError: Inference failed.
        MissingExtraError: PyAV is not installed.
    """
    source = VideoSource(path)
    times = {stage: StageTimes() for stage in STAGES}
    frames = found = late = 0
    started = time.perf_counter()
    with ExitStack() as stack:
        writer = None
        if annotated is not None:
            sink = stack.enter_context(VideoSink(annotated, source.fps, codec=codec))
            writer = stack.enter_context(WriteBehind(_drawing(sink), QUEUE_DEPTH))
        for frame in stack.enter_context(closing(read_ahead(source, QUEUE_DEPTH))):
            localization = localizer.run(frame.pixels, color="rgb")
            for stage in STAGES:
                times[stage].add(getattr(localization.timing, stage))
            frames += 1
            found += localization.found
            late += localization.timing.total_ms > 1000 / source.fps
            if on_frame is not None:
                age_ms = 1000 * (time.time() - frame.captured_at)
                on_frame(FrameResult(str(source.path), frame, localization, age_ms))
            if writer is not None:
                writer.put((frame, localization))
    seconds = time.perf_counter() - started
    return VideoSummary(
        source=source.path,
        frames=frames,
        found=found,
        expected_frames=source.frame_count,
        seconds=seconds,
        fps=frames / seconds,
        source_fps=source.fps,
        late=late,
        stages={
            stage: {"p50": each.percentile(50), "p90": each.percentile(90)}
            for stage, each in times.items()
        },
        annotated=None if annotated is None else Path(annotated),
        damage=source.damage,
    )


def _drawing(sink: VideoSink) -> Callable[[tuple[VideoFrame, Localization]], None]:
    def write(item: tuple[VideoFrame, Localization]) -> None:
        frame, localization = item
        sink.write(localization.draw(frame.pixels, color="rgb"), frame.time_s)

    return write
