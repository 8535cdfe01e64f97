"""Video in, boxes out: sources, sinks, and the pipeline between them. Needs the `[video]` extra."""

from __future__ import annotations

from bas_edge.video.frames import FrameResult, Stability, StreamEvent, VideoFrame
from bas_edge.video.pipeline import VideoSummary, localize_video
from bas_edge.video.sink import Sink
from bas_edge.video.sinks import VideoSink, available_encoders
from bas_edge.video.sources import VideoSource

__all__ = [
    "FrameResult",
    "Sink",
    "Stability",
    "StreamEvent",
    "VideoFrame",
    "VideoSink",
    "VideoSource",
    "VideoSummary",
    "available_encoders",
    "localize_video",
]
