"""`cameras.toml`: what it says, what it may not say, and the pipeline made of it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import msgspec
import pytest

from bas_edge.errors import InputError
from bas_edge.video import AnnotatedVideo, Clips, Crops, Csv, Events, JsonLines, Mqtt, Webhook
from bas_edge.video.camera_config import (
    CameraConfig,
    CamerasConfig,
    EngineConfig,
    LiveConfig,
    ReconnectConfig,
    ServerConfig,
    read_cameras,
)
from bas_edge.video.camera_pipeline import open_stream
from bas_edge.video.camera_sinks import (
    ClipsConfig,
    CropsConfig,
    CsvConfig,
    EventsConfig,
    JsonLinesConfig,
    MqttConfig,
    SinkTable,
    VideoConfig,
    WebhookConfig,
)

SMALLEST = """
engine = "birds.engine"
[[camera]]
source = "rtsp://10.0.0.7/live"
"""

FULL = """
output = "results"
[engine]
path = "engines/birds.engine"
min_score = 0.25
[server]
host = "0.0.0.0"
port = 0
token = "${TOKEN}"
allowed_hosts = ["birds.local"]
[defaults]
smooth = "strong"
max_fps = 10.0
[[camera]]
name = "door"
source = "rtsp://${NAME}:${WORD}@10.0.0.7/live"
policy = "oldest"
depth = 5
live = { transport = "udp", silence_s = 5.0, options = { buffer_size = "1000000" } }
reconnect = { longest_s = 30.0 }
[[camera.sink]]
type = "crops"
interval_s = 2.0
[[camera.sink]]
type = "clips"
[[camera.sink.rule]]
name = "visitor"
classes = ["wren"]
zone = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
dwell_s = 1.0
[[camera]]
name = "yard"
source = "/dev/video0"
smooth = { map_time_s = 0.2 }
[[sink]]
type = "jsonl"
max_bytes = 1000000
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "cameras.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_smallest_file_has_safe_defaults(tmp_path: Path) -> None:
    config = read_cameras(write(tmp_path, SMALLEST))
    assert config.engine_options.path == str(tmp_path / "birds.engine")
    assert config.output_folder == tmp_path / "out"
    assert (config.server.host, config.server.token) == ("127.0.0.1", None)
    (camera,) = config.cameras
    stream = open_stream(camera)
    assert (stream.name, stream.policy, stream.live) == ("10.0.0.7-live", "newest", True)
    assert camera.smoothing() is None  # left to the kind of engine
    assert camera.reconnect.always


def test_everything_that_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TOKEN", "sixteen-letters!"), ("NAME", "me"), ("WORD", "p%40ss")):
        monkeypatch.setenv(name, value)
    config = read_cameras(write(tmp_path, FULL))
    assert config.server.token == "sixteen-letters!"
    assert config.engine_options.min_score == 0.25
    door, yard = config.cameras
    assert door.source == "rtsp://me:p%40ss@10.0.0.7/live"
    assert (door.smooth, door.max_fps, yard.max_fps) == ("strong", 10.0, 10.0)
    assert yard.smoothing().map_time_s == 0.2
    crops, clips = door.sinks
    assert isinstance(crops, CropsConfig)
    assert crops.interval_s == 2.0
    assert clips.rules[0].classes == ("wren",)
    assert isinstance(config.sinks[0], JsonLinesConfig)
    stream = open_stream(door)
    assert stream.uri == "rtsp://***@10.0.0.7/live"
    assert (stream.policy, stream.options.depth, stream.options.silence_s) == ("oldest", 5, 5.0)


def camera(**keys: str) -> str:
    lines = "\n".join(f"{name} = {value}" for name, value in keys.items())
    return f'engine = "e"\n[[camera]]\nsource = "rtsp://h/x"\n{lines}\n'


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("engine = ", "is not TOML", None),
        ('engine = "e"', "names no camera", "[[camera]]"),
        ('camera = [{ source = "x" }]', "the key 'engine' is missing", None),
        (
            camera(polcy='"newest"'),
            "camera[0] (rtsp://h/x): the key 'polcy' is not known",
            "Did you mean 'policy'?",
        ),
        (camera(stride='"two"'), "stride must be a whole number, but is a text in quotes", None),
        (
            camera(policy='"new"'),
            "policy is 'new', which is none of newest, oldest, wait",
            "'newest'",
        ),
        (camera(smooth='"soft"'), "Unknown smoothing 'soft'", None),
        (camera(smooth="{ map_time_s = -1.0 }"), "map_time_s is -1.0", None),
        (camera(live="{ conect_s = 1.0 }"), "'conect_s' is not known", "Did you mean 'connect_s'?"),
        (
            camera(source2='"${NOT_SET_ANYWHERE}"'),
            "no environment variable NOT_SET_ANYWHERE",
            "export",
        ),
        ('engine = "e"\n[camera]\nsource = "x"\n', "[[camera]] a list of them", "two brackets"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, text: str, message: str, hint: str | None
) -> None:
    with pytest.raises(InputError) as caught:
        read_cameras(write(tmp_path, text))
    assert message in str(caught.value)
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_cameras(tmp_path / "cameras.toml")


def test_a_dollar_is_two(tmp_path: Path) -> None:
    text = SMALLEST.replace("10.0.0.7/live", "u:a$$b@10.0.0.7/live")
    assert read_cameras(write(tmp_path, text)).cameras[0].source == "rtsp://u:a$b@10.0.0.7/live"


@pytest.mark.parametrize(
    ("table", "sink"),
    [
        (JsonLinesConfig, JsonLines),
        (CsvConfig, Csv),
        (VideoConfig, AnnotatedVideo),
        (CropsConfig, Crops),
        (ClipsConfig, Clips),
        (EventsConfig, Events),
        (MqttConfig, Mqtt),
        (WebhookConfig, Webhook),
    ],
)
def test_a_sink_takes_all_its_arguments_from_the_file(table: type[SinkTable], sink: type) -> None:
    known = {field.name for field in msgspec.structs.fields(table)}
    assert known == set(inspect.signature(sink).parameters) - {"live", "on_event"}


@pytest.mark.parametrize(
    ("table", "kind", "said_elsewhere"),
    [
        ("top", CamerasConfig, {"server", "defaults", "camera", "sink", "file"}),
        ("`[engine]`", EngineConfig, set()),
        ("`[server]`", ServerConfig, set()),
        ("`[[camera]]`", CameraConfig, {"sink"}),
        ("`live`", LiveConfig, set()),
        ("`reconnect`", ReconnectConfig, set()),
    ],
)
def test_the_docs_name_every_key(table: str, kind: type, said_elsewhere: set[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "video.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {re.escape(table)} \| (.*) \|$", page, re.M)
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    assert set(re.findall(r"`(\w+)`", row)) == known - said_elsewhere


def test_the_example_of_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BAS_EDGE_TOKEN", "CAMERA_NAME", "CAMERA_PASSWORD"):
        monkeypatch.setenv(name, "sixteen-letters!")
    folder = Path(__file__).parents[2] / "docs" / "device"
    config = read_cameras(folder / "cameras.toml")
    assert [camera.name for camera in config.cameras] == ["feeder", "nest"]
    service = (folder / "bas-edge.service").read_text(encoding="utf-8")
    named = set(re.findall(r"\$\{(\w+)\}", (folder / "cameras.toml").read_text(encoding="utf-8")))
    assert all(name in service for name in named)
    assert config.output == "/var/lib/bas-edge"
    assert config.engine_options.path == "/var/lib/bas-edge/birds.engine"  # can be saved into
    assert "StateDirectory=bas-edge\n" in service
    assert "bas-edge serve /etc/bas-edge/cameras.toml" in service
