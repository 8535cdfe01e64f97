"""What the API takes and gives. The OpenAPI document is made of these types."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

__all__ = [
    "Age",
    "Event",
    "EventList",
    "Health",
    "Latest",
    "PageMessage",
    "Problem",
    "SeenObject",
    "SmoothingChange",
    "StreamList",
    "StreamStatus",
    "Threshold",
    "Tuning",
    "TuningChange",
    "TuningValues",
    "Watch",
]


class Age(msgspec.Struct, frozen=True):
    """From capture to result, in milliseconds: median and 95th percentile of the last minute."""

    p50: float
    p95: float


class SeenObject(msgspec.Struct, frozen=True):
    """One object of a result. `box` is (x0, y0, x1, y1) in pixels of the frame.

    `area` is the class's share of the frame, 0 to 1. An engine gives either that or a `score`.
    """

    label: int
    class_name: str
    box: tuple[float, float, float, float]
    score: float | None
    area: float | None


class Latest(msgspec.Struct, frozen=True):
    """The newest result of a stream.

    `objects` are what was found, largest first, and `text` says it for people. `class_name`,
    `score` and `box` are of the first; where nothing was found, of an engine that localizes the
    best class and the whole frame, and otherwise empty, null and the whole frame.
    """

    frame: int
    captured_at: str
    found: bool
    text: str
    class_name: str
    score: float | None
    box: tuple[float, float, float, float]
    objects: tuple[SeenObject, ...]
    width: int
    height: int
    iou: float | None = None
    jitter_px: float | None = None


class StreamStatus(msgspec.Struct, frozen=True):
    """One stream in numbers, since it was started.

    `state` is connecting, running, stalled, reconnecting or ended; `failed` says that it ended with
    an error. `fps` are results a second lately, `source_fps` frames a second that arrive. `dropped`
    counts frames left out by the policy, `damaged` those that did not decode whole, `unusable`
    those that had no pixels, `missed` results that sinks missed. `gap_s` is how long the
    connection was lost last, `silent_s` the time since the last frame came in. `age_ms` is null
    where the last minute had no result.
    """

    name: str
    uri: str
    state: str
    reason: str
    failed: bool
    paused: bool
    details: str
    smoothing: str | None
    presets: tuple[str, ...]
    fps: float
    source_fps: float
    results: int
    found: int
    delivered: int
    dropped: int
    damaged: int
    unusable: int
    missed: int
    reconnects: int
    failures: int
    gap_s: float
    silent_s: float | None
    age_ms: Age | None
    latest: Latest | None = None


class StreamList(msgspec.Struct, frozen=True):
    """Every stream, and what goes for all of them.

    `problems` are sentences: sinks that failed, hang, or wait for something such as a broker, and
    an engine that failed or hangs. `stages_ms` are the times of a frame in each stage, median and
    90th percentile of the last minute; a minute without a frame has none.
    """

    streams: tuple[StreamStatus, ...]
    seconds: float
    viewers: int
    stages_ms: dict[str, dict[str, float]]
    problems: tuple[str, ...]
    last_event: int


class Threshold(msgspec.Struct, frozen=True):
    """Where maps are cut: "fixed": a fraction of their range; "mean": so many times their mean."""

    rule: str
    value: float


class TuningValues(msgspec.Struct, frozen=True):
    """How maps become boxes."""

    threshold: Threshold
    top_k: int
    min_score: float


class Tuning(msgspec.Struct, frozen=True):
    """What is in use, what the engine itself was measured with, and what it starts with.

    The three are null where `task` is another than localization: then there is nothing to tune.
    `most_top_k` is 1 where the engine has nothing to choose. `unsavable` says why the engine cannot
    keep values, and is empty where it can.
    """

    engine: str
    task: str
    backend: str
    in_use: TuningValues | None
    own: TuningValues | None
    saved: TuningValues | None
    most_top_k: int
    unsavable: str


class TuningChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New values, for every stream, from the next frame on.

    What is left out stays; null takes the engine's own value.
    """

    threshold: float | UnsetType | None = UNSET
    top_k: int | UnsetType | None = UNSET
    min_score: float | UnsetType | None = UNSET


class SmoothingChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the stream's `presets`."""

    preset: str


class Event(msgspec.Struct, frozen=True):
    """Something that happened.

    `kind` is "state" (`what` is the new state, `text` why), "rule" (`what` is the rule, `text` what
    was seen) or "change" (somebody tuned or paused something). `at` is ISO 8601 in UTC.
    """

    id: int
    kind: str
    stream: str
    at: str
    what: str
    text: str


class EventList(msgspec.Struct, frozen=True):
    """Events in order. `last` goes into the next request as `after`."""

    events: tuple[Event, ...]
    last: int


class Health(msgspec.Struct, frozen=True):
    """Whether the pipeline lives and no stream has failed for ever. Names no stream."""

    status: Literal["ok", "failing"]
    reasons: tuple[str, ...] = ()


class Problem(msgspec.Struct, frozen=True):
    """Why a request was refused, and what to do about it."""

    error: str
    hint: str | None = None


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page wants pictures of a stream, so wide in pixels.

    `overlay` is the opacity, 0 to 1, of the map or the classes over it; null is what suits the
    engine: no map, or classes at 0.6.
    """

    stream: str
    width: Annotated[float, Meta(ge=1, le=10_000)] = 640.0
    overlay: Annotated[float, Meta(ge=0, le=1)] | None = None


class PageMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page says over its WebSocket: what it wants to see, or which picture it has drawn."""

    watch: Annotated[tuple[Watch, ...], Meta(max_length=64)] | UnsetType = UNSET
    drawn: int | UnsetType = UNSET
