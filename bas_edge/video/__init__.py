"""Video in, boxes or classes out: sources, sinks, a pipeline. Needs the `[video]` extra."""

from __future__ import annotations

from bas_edge.finding import Finding, FoundObject
from bas_edge.video.frame_engine import FrameEngine
from bas_edge.video.frames import FrameResult, Stability, StreamEvent, VideoFrame
from bas_edge.video.pipeline import Pipeline
from bas_edge.video.pipeline_engine import open_for_pipeline
from bas_edge.video.pipeline_stats import LaneStats, PipelineStats
from bas_edge.video.sinks.annotated_video import AnnotatedVideo
from bas_edge.video.sinks.clips import Clips
from bas_edge.video.sinks.crops import Crops
from bas_edge.video.sinks.csv_table import Csv
from bas_edge.video.sinks.event_rules import EventRule, RuleEvent
from bas_edge.video.sinks.events import Events
from bas_edge.video.sinks.json_lines import JsonLines
from bas_edge.video.sinks.mqtt import Mqtt
from bas_edge.video.sinks.sink import Sink
from bas_edge.video.sinks.video_sink import VideoSink, available_encoders
from bas_edge.video.sinks.webhook import Webhook
from bas_edge.video.sources.live_capture import LiveOptions
from bas_edge.video.sources.open_source import open_source
from bas_edge.video.sources.reconnect import Reconnect
from bas_edge.video.sources.stream import Stream, StreamStats
from bas_edge.video.sources.video_source import VideoSource
from bas_edge.video.steady.smoothing import Smoothing
from bas_edge.video.steady.stability import StabilitySummary
from bas_edge.video.steady.steadier import Steadier
from bas_edge.video.video_job import VideoSummary, localize_video

__all__ = [
    "AnnotatedVideo",
    "Clips",
    "Crops",
    "Csv",
    "EventRule",
    "Events",
    "Finding",
    "FoundObject",
    "FrameEngine",
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
