"""Video in, boxes out: sources, sinks, and the pipeline between them. Needs the `[video]` extra."""

from __future__ import annotations

from bas_edge.video.pipeline import FrameResult, VideoSummary, localize_video
from bas_edge.video.sinks import VideoSink, available_encoders
from bas_edge.video.sources import VideoFrame, VideoSource

__all__ = [
    "FrameResult",
    "VideoFrame",
    "VideoSink",
    "VideoSource",
    "VideoSummary",
    "available_encoders",
    "localize_video",
]
