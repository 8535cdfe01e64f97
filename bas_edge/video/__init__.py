"""Video in, boxes out: sources, sinks, and the pipeline between them. Needs the `[video]` extra."""

from __future__ import annotations

from bas_edge.video.annotated_video import AnnotatedVideo
from bas_edge.video.clips import Clips
from bas_edge.video.crops import Crops
from bas_edge.video.csv_table import Csv
from bas_edge.video.event_rules import EventRule, RuleEvent
from bas_edge.video.frames import FrameResult, Stability, StreamEvent, VideoFrame
from bas_edge.video.json_lines import JsonLines
from bas_edge.video.live_capture import LiveOptions
from bas_edge.video.mqtt import Mqtt
from bas_edge.video.open_source import open_source
from bas_edge.video.pipeline import Pipeline
from bas_edge.video.pipeline_engine import open_for_pipeline
from bas_edge.video.pipeline_stats import LaneStats, PipelineStats
from bas_edge.video.reconnect import Reconnect
from bas_edge.video.sink import Sink
from bas_edge.video.sinks import VideoSink, available_encoders
from bas_edge.video.smoothing import Smoothing
from bas_edge.video.sources import VideoSource
from bas_edge.video.stability import StabilitySummary
from bas_edge.video.steadier import Steadier
from bas_edge.video.stream import Stream, StreamStats
from bas_edge.video.video_job import VideoSummary, localize_video
from bas_edge.video.webhook import Webhook

__all__ = [
    "AnnotatedVideo",
    "Clips",
    "Crops",
    "Csv",
    "EventRule",
    "FrameResult",
    "JsonLines",
    "LaneStats",
    "LiveOptions",
    "Mqtt",
    "Pipeline",
    "PipelineStats",
    "Reconnect",
    "RuleEvent",
    "Sink",
    "Smoothing",
    "Stability",
    "StabilitySummary",
    "Steadier",
    "Stream",
    "StreamEvent",
    "StreamStats",
    "VideoFrame",
    "VideoSink",
    "VideoSource",
    "VideoSummary",
    "Webhook",
    "available_encoders",
    "localize_video",
    "open_for_pipeline",
    "open_source",
]
