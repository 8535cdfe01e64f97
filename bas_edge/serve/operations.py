"""The API as a table: the routes and the OpenAPI document are both made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bas_edge.errors import InputError
from bas_edge.serve.schema import (
    EventList,
    SmoothingChange,
    StreamList,
    StreamStatus,
    Tuning,
    TuningChange,
)
from bas_edge.serve.site import Site

__all__ = ["OPERATIONS", "Asked", "NotThereError", "Operation"]


class NotThereError(InputError):
    """There is nothing by this name."""


class Asked(NamedTuple):
    """What a request says, beyond its path.

    Attributes:
        stream: The stream in its path, or "".
        body: As the operation's `body`, or None.
        query: Parameters after the question mark.
    """

    stream: str
    body: Any
    query: Mapping[str, str]


class Operation(NamedTuple):
    """One thing that can be asked for.

    Attributes:
        method: HTTP method.
        path: With {name} where a stream's name is.
        summary: One line for people.
        answer: Type of the answer.
        call: Gives the answer; on a thread that may wait.
        body: Type of the body; None takes none.
        query: Whole-number parameters after the question mark, with what they mean.
    """

    method: str
    path: str
    summary: str
    answer: type
    call: Callable[[Site, Asked], Any]
    body: type | None = None
    query: tuple[tuple[str, str], ...] = ()


def _stream(site: Site, asked: Asked) -> StreamStatus:
    status = site.board.stream(asked.stream)
    if status is None:
        known = ", ".join(each.name for each in site.board.streams().streams) or "none"
        raise NotThereError(f"There is no stream '{asked.stream}'.", hint=f"Streams: {known}.")
    return status


def _pause(site: Site, asked: Asked) -> StreamStatus:
    _stream(site, asked)
    site.controls.pause(asked.stream)
    return _now(site, asked)


def _resume(site: Site, asked: Asked) -> StreamStatus:
    _stream(site, asked)
    site.controls.resume(asked.stream)
    return _now(site, asked)


def _smooth(site: Site, asked: Asked) -> StreamStatus:
    _stream(site, asked)
    site.controls.smooth(asked.stream, asked.body.preset)
    return _now(site, asked)


def _now(site: Site, asked: Asked) -> StreamStatus:
    site.board.forget()
    return _stream(site, asked)


def _events(site: Site, asked: Asked) -> EventList:
    text = asked.query.get("after", "0")
    if not text.isdecimal() or len(text) > 15:
        raise InputError(f"after is {text[:20]!r}, but must be the number of an event.")
    events = tuple(site.views.log.after(int(text)))
    return EventList(events, events[-1].id if events else site.views.log.last)


OPERATIONS = (
    Operation(
        "GET",
        "/api/streams",
        "Every stream in numbers",
        StreamList,
        lambda site, _: site.board.streams(),
    ),
    Operation("GET", "/api/streams/{name}", "One stream in numbers", StreamStatus, _stream),
    Operation("POST", "/api/streams/{name}/pause", "Let a stream wait", StreamStatus, _pause),
    Operation("POST", "/api/streams/{name}/resume", "Go on with a stream", StreamStatus, _resume),
    Operation(
        "PATCH",
        "/api/streams/{name}/smoothing",
        "Smooth a stream otherwise, from its next frame on",
        StreamStatus,
        _smooth,
        SmoothingChange,
    ),
    Operation(
        "GET",
        "/api/tuning",
        "Threshold, top-k and minimum score",
        Tuning,
        lambda site, _: site.controls.tuning(),
    ),
    Operation(
        "PATCH",
        "/api/tuning",
        "Use other values, from the next frame of every stream on",
        Tuning,
        lambda site, asked: site.controls.retune(asked.body),
        TuningChange,
    ),
    Operation(
        "POST",
        "/api/tuning/save",
        "Keep the values in use in the engine",
        Tuning,
        lambda site, _: site.controls.save(),
    ),
    Operation(
        "GET",
        "/api/events",
        "What happened lately: states of streams, rules that came true, changes",
        EventList,
        _events,
        query=(("after", "Only events with a greater id"),),
    ),
)
