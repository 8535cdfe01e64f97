"""Video in, boxes out: sources, sinks, and the pipeline between them. Needs the `[video]` extra."""

from __future__ import annotations

from bas_edge.video.annotated_video import AnnotatedVideo
from bas_edge.video.clips import Clips
from bas_edge.video.crops import Crops
from bas_edge.video.csv_table import Csv
from bas_edge.video.event_rules import EventRule, RuleEvent
from bas_edge.video.frames import FrameResult, Stability, StreamEvent, VideoFrame
from bas_edge.video.json_lines import JsonLines
from bas_edge.video.mqtt import Mqtt
from bas_edge.video.pipeline import VideoSummary, localize_video
from bas_edge.video.sink import Sink
from bas_edge.video.sinks import VideoSink, available_encoders
from bas_edge.video.sources import VideoSource
from bas_edge.video.webhook import Webhook

__all__ = [
    "AnnotatedVideo",
    "Clips",
    "Crops",
    "Csv",
    "EventRule",
    "FrameResult",
    "JsonLines",
    "Mqtt",
    "RuleEvent",
    "Sink",
    "Stability",
    "StreamEvent",
    "VideoFrame",
    "VideoSink",
    "VideoSource",
    "VideoSummary",
    "Webhook",
    "available_encoders",
    "localize_video",
]
