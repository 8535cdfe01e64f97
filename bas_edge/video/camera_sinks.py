"""The sinks that a `cameras.toml` can name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from bas_edge.errors import InputError
from bas_edge.video.sinks.annotated_video import AnnotatedVideo
from bas_edge.video.sinks.clips import Clips
from bas_edge.video.sinks.crops import Crops
from bas_edge.video.sinks.csv_table import Csv
from bas_edge.video.sinks.event_rules import EventRule, RuleEvent
from bas_edge.video.sinks.events import Events
from bas_edge.video.sinks.file_names import as_template
from bas_edge.video.sinks.json_lines import JsonLines
from bas_edge.video.sinks.mqtt import Mqtt
from bas_edge.video.sinks.result_filter import Every
from bas_edge.video.sinks.sink import Sink
from bas_edge.video.sinks.webhook import Webhook

__all__ = ["SinkConfig", "open_sink"]

_LIMITS = {"segment_s": 600.0, "max_files": None, "max_bytes": 10 << 30}  # of cameras


class SinkTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """One `[[sink]]`; its keys are the arguments of the sink."""


class JsonLinesConfig(SinkTable, frozen=True, tag="jsonl"):
    """See `JsonLines`."""

    path: str = "{stream}-{date}.jsonl"
    states: bool = True
    max_bytes: int | None = None
    keep: int = 5
    go_on: bool = True


class CsvConfig(SinkTable, frozen=True, tag="csv"):
    """See `Csv`."""

    path: str = "{stream}-{date}.csv"
    max_bytes: int | None = None
    keep: int = 5
    go_on: bool = True


class VideoConfig(SinkTable, frozen=True, tag="video"):
    """See `AnnotatedVideo`. Where a limit is not given, `open_sink` chooses it."""

    path: str = "{stream}/{date}-{time}.mp4"
    fps: float = 25.0
    codec: str = "auto"
    segment_s: float | msgspec.UnsetType | None = msgspec.UNSET
    max_files: int | msgspec.UnsetType | None = msgspec.UNSET
    max_bytes: int | msgspec.UnsetType | None = msgspec.UNSET


class CropsConfig(SinkTable, frozen=True, tag="crops"):
    """See `Crops`."""

    path: str = "{stream}-{frame:08d}-{class}.jpg"
    min_score: float = 0.0
    interval_s: float = 1.0
    margin: float = 0.1
    max_files: int | None = 10_000
    max_bytes: int | None = None


class RuleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `EventRule`."""

    name: str
    classes: tuple[str, ...] = ()
    min_score: float = 0.0
    zone: tuple[tuple[float, float], ...] | None = None
    inside: float | None = None
    dwell_s: float = 0.0
    grace_s: float = 0.5
    cooldown_s: float = 10.0

    def __post_init__(self) -> None:
        self.rule()

    def rule(self) -> EventRule:
        """What it says; refused is what `EventRule` refuses."""
        return EventRule(**msgspec.structs.asdict(self))


class ClipsConfig(SinkTable, frozen=True, tag="clips"):
    """See `Clips`; each `[[….rule]]` is an `EventRule`."""

    rules: tuple[RuleConfig, ...] = msgspec.field(name="rule")
    path: str = "{stream}/{date}-{time}-{rule}.mp4"
    before_s: float = 5.0
    after_s: float = 5.0
    longest_s: float = 60.0
    draw: bool = True
    fps: float = 25.0
    codec: str = "auto"
    buffer_bytes: int = 32 << 20
    max_files: int | None = 1000
    max_bytes: int | None = None


class EventsConfig(SinkTable, frozen=True, tag="events"):
    """See `Events`; each `[[….rule]]` is an `EventRule`."""

    rules: tuple[RuleConfig, ...] = msgspec.field(name="rule")


class MqttConfig(SinkTable, frozen=True, tag="mqtt"):
    """See `Mqtt`."""

    host: str
    port: int | None = None
    topic: str = "bas-edge/{stream}"
    every: Every = "change"
    qos: int = 0
    tls: bool = False
    ca_file: str | None = None
    username: str | None = None
    password_env: str = "BAS_EDGE_MQTT_PASSWORD"
    client_id: str | None = None
    queue_size: int = 1000
    close_s: float = 5.0


class WebhookConfig(SinkTable, frozen=True, tag="webhook"):
    """See `Webhook`."""

    url: str
    every: Every = "change"
    states: bool = True
    token_env: str = "BAS_EDGE_WEBHOOK_TOKEN"
    headers: dict[str, str] = {}
    timeout_s: float = 10.0
    queue_size: int = 1000
    batch: int = 1
    batch_s: float = 1.0
    close_s: float = 5.0
    ca_file: str | None = None


SinkConfig: TypeAlias = (
    JsonLinesConfig
    | CsvConfig
    | VideoConfig
    | CropsConfig
    | ClipsConfig
    | EventsConfig
    | MqttConfig
    | WebhookConfig
)


def open_sink(
    config: SinkConfig, folder: Path, *, live: bool, on_event: Callable[[RuleEvent], None]
) -> Sink:
    """Make the sink; it opens its files at the first result.

    Args:
        config: As the file has it.
        folder: Where relative paths begin.
        live: Whether it is for a stream without an end: its videos are cut into segments of ten
            minutes, of which ten GiB are kept, where the file does not say otherwise.
        on_event: What a sink with rules calls with each event.

    Raises:
        InputError: A value that its class refuses, or the folder cannot be written to.
        MissingExtraError: Its library is not installed.
    """
    values = msgspec.structs.asdict(config)
    if "path" in values:
        own = values["path"]
        values["path"] = own if Path(own).is_absolute() else f"{as_template(folder)}/{own}"
    if isinstance(config, VideoConfig):
        return AnnotatedVideo(**_with_limits(values, live=live), live=live)
    if isinstance(config, ClipsConfig | EventsConfig):
        rules = [rule.rule() for rule in values.pop("rules")]
        kind = Clips if isinstance(config, ClipsConfig) else Events
        return kind(rules=rules, on_event=on_event, **values)
    kinds = {
        JsonLinesConfig: JsonLines,
        CsvConfig: Csv,
        CropsConfig: Crops,
        MqttConfig: Mqtt,
        WebhookConfig: Webhook,
    }
    sink: Sink = kinds[type(config)](**values)
    return sink


def _with_limits(values: dict[str, Any], *, live: bool) -> dict[str, Any]:
    """The values of a video sink, with limits where none were given."""
    for name, limit in _LIMITS.items():
        if values[name] is msgspec.UNSET:
            values[name] = limit if live else None
        elif values[name] is not None and not live:
            raise InputError(
                f"A video sink has {name} = {values[name]}, but its sources come to an end, and "
                "each gets one video, whole.",
                hint=f"Leave out {name}, or set loop or realtime of the source.",
            )
    return values
