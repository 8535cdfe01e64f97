"""Events of rules on their way through a `cameras.toml` to those that publish them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from fakes.mqtt_broker import Broker
from stream_results import STARTED, result
from stub_localizer import StubLocalizer

from bas_edge.errors import InputError
from bas_edge.serve.from_config import rules_of
from bas_edge.video import (
    EventRule,
    Events,
    FrameResult,
    Pipeline,
    RuleEvent,
    StreamEvent,
    camera_pipeline,
    open_source,
)
from bas_edge.video.camera_config import read_cameras
from bas_edge.video.camera_pipeline import open_cameras

CAMERAS = """
engine = {{ path = "tiny.onnx", min_score = 0.0, threshold = 0.0 }}

[[camera]]
name = "door"
source = "a.mp4"
policy = "wait"
[[camera.sink]]
type = "mqtt"
host = "127.0.0.1"
port = {port}
topic = "own/{{stream}}"
every = "event"
queue_size = 50
[[camera.sink]]
type = "clips"
codec = "mpeg4"
[[camera.sink.rule]]
name = "visit"

[[camera]]
name = "yard"
source = "a.mp4"
policy = "wait"

[[sink]]
type = "mqtt"
host = "127.0.0.1"
port = {port}
topic = "all/{{stream}}"
every = "event"
[[sink]]
type = "events"
[[sink.rule]]
name = "anything"
"""


def test_each_event_arrives_once_at_each_sink_of_its_camera(
    tmp_path: Path, tiny_onnx: Callable[..., Path], clips: ModuleType
) -> None:
    tiny_onnx(tmp_path / "tiny.onnx")
    clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(6))
    file = tmp_path / "cameras.toml"
    with Broker() as broker:
        file.write_text(CAMERAS.format(port=broker.port), encoding="utf-8")
        with open_cameras(read_cameras(file)) as pipeline:
            stats = pipeline.run(duration_s=60)
        messages = broker.wait(
            lambda all_: (
                sum(one.topic.endswith("/event") for one in all_) >= 5
                and sum(b"offline" in one.payload for one in all_) >= 3
            )
        )
    assert not stats.failures
    events = [
        (one.topic, json.loads(one.payload)) for one in messages if one.topic.endswith("/event")
    ]
    assert sorted((topic, event["rule"]) for topic, event in events) == [
        ("all/door/event", "anything"),
        ("all/door/event", "visit"),
        ("all/yard/event", "anything"),
        ("own/door/event", "anything"),
        ("own/door/event", "visit"),
    ]
    for _, event in events:
        made = event["clip"] is not None and Path(event["clip"]).is_file()
        assert made == (event["rule"] == "visit")
    assert not [one for one in messages if one.topic.endswith("/result")]


def test_the_page_lists_the_events_of_the_same_rules(tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text(CAMERAS.format(port=1), encoding="utf-8")
    config = read_cameras(file)
    assert [{rule.name for rule in rules_of(config, camera)} for camera in config.cameras] == [
        {"anything", "visit"},
        {"anything"},
    ]


class Plain:
    """A sink that notes when it is closed."""

    def __init__(self, closed: list[str]) -> None:
        self._closed = closed

    def write(self, result: FrameResult) -> None: ...

    def event(self, event: StreamEvent) -> None: ...

    def close(self, *, complete: bool) -> None:
        assert complete
        self._closed.append(type(self).__name__)


class Told(Plain):
    def notify(self, event: RuleEvent) -> None: ...


def test_a_pipeline_closes_those_that_are_told_of_events_last() -> None:
    closed: list[str] = []
    pipeline = Pipeline(StubLocalizer())
    told, frame = Told(closed), np.ones((8, 8, 3), np.uint8)
    for name in ("a", "b"):
        stream = open_source([frame], name=name, policy="wait")
        pipeline.add(stream, sinks=[told, Plain(closed)])
    pipeline.run(duration_s=60)
    assert closed == ["Plain", "Plain", "Told"]


def test_a_mistake_in_a_sink_is_said_before_the_engine_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_pipeline, "open_for_pipeline", pytest.fail)
    threads = threading.active_count()
    file = tmp_path / "cameras.toml"
    file.write_text(
        'engine = "e"\n[[camera]]\nsource = "rtsp://h/x"\n'
        '[[sink]]\ntype = "webhook"\nurl = "http://x"\nqueue_size = 50\n'  # has a thread
        '[[sink]]\ntype = "mqtt"\nhost = "h"\nport = 700000\n',
        encoding="utf-8",
    )
    with pytest.raises(InputError, match="the port 700000"), open_cameras(read_cameras(file)):
        pass
    assert threading.active_count() <= threads


def test_rules_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="share a name"):
        Events([EventRule("a"), EventRule("a", min_score=0.5)], on_event=lambda _: None)


def test_a_dwell_ends_where_the_stream_stalls() -> None:
    told: list[RuleEvent] = []
    sink = Events([EventRule("stays", dwell_s=1.0)], on_event=told.append)
    assert sink.rules == (EventRule("stays", dwell_s=1.0),)
    for index in range(6):
        sink.write(result(index, index * 0.4))
        if index == 2:
            sink.event(StreamEvent("door", "stalled", STARTED))
    assert told == []
    sink.write(result(6, 2.4))
    assert [event.frame for event in told] == [6]
