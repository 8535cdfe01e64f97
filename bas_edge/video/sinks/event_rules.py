"""When something that is seen counts as an event."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bas_edge.engine.manifest import Manifest
from bas_edge.errors import InputError
from bas_edge.finding import Finding, FoundObject
from bas_edge.video.frames import FrameResult, StreamEvent, utc
from bas_edge.video.sinks.holes import Holes
from bas_edge.video.sinks.zones import Polygon, check_polygon, holds_point, share_inside

__all__ = ["EventRule", "RuleEvent", "RuleState", "RuleWatch", "check_sink", "step"]

_LISTED = 15  # so many of an engine's classes are named in a hint

_HOLE_S = 2.0  # for so long nobody looked: what is seen afterwards may be something else


@dataclass(frozen=True, slots=True)
class EventRule:
    """An object of some classes, sure enough, in a zone, for long enough.

    Attributes:
        name: What its events are called.
        classes: Class names that count; () is any.
        min_score: The least score that counts, 0 to 1; a Segmenter gives none.
        zone: Corners (x, y) in order as parts of the frame's width and height: (0, 0) is the upper
            left, (1, 1) the lower right. None is everywhere.
        inside: None: the centre of the box must lie in the zone. A number over 0 and up to 1: at
            least this part of the box's area must.
        dwell_s: For how long all this must hold without a break, and be watched.
        grace_s: Breaks up to so long are none: a few missed frames begin nothing anew.
        cooldown_s: How long after an event there is no other one.

    Raises:
        InputError: A value cannot be used.
    """

    name: str
    classes: tuple[str, ...] = ()
    min_score: float = 0.0
    zone: Polygon | None = None
    inside: float | None = None
    dwell_s: float = 0.0
    grace_s: float = 0.5
    cooldown_s: float = 10.0

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("An event rule has no name.", hint="Its events are called by it.")
        classes: object = self.classes
        if isinstance(classes, str):
            raise InputError(
                f"The classes of the rule '{self.name}' are one text: {classes!r}.",
                hint=f"Write a tuple: ({classes!r},).",
            )
        if self.zone is not None:
            check_polygon(self.zone)
        if not 0 <= self.min_score <= 1:
            raise InputError(
                f"The rule '{self.name}' has min_score {self.min_score}, but a score is 0 to 1."
            )
        if self.inside is not None and not 0 < self.inside <= 1:
            raise InputError(
                f"The rule '{self.name}' has inside {self.inside}, but it is over 0 and up to 1.",
                hint="For one half of the box, write 0.5.",
            )
        for name in ("dwell_s", "grace_s", "cooldown_s"):
            if not getattr(self, name) >= 0:
                raise InputError(
                    f"The rule '{self.name}' has {name} {getattr(self, name)}, but no time is "
                    "negative."
                )

    def object_that_counts(self, finding: Finding) -> FoundObject | None:
        """The first object of the frame that fulfils all but the time; None without one."""
        return next((one for one in finding.objects if self._counts(one, finding.frame_size)), None)

    def _counts(self, one: FoundObject, frame_size: tuple[int, int]) -> bool:
        if one.score is not None and one.score < self.min_score:
            return False
        if self.classes and one.class_name not in self.classes:
            return False
        return self._in_zone(one.box, frame_size)

    def _in_zone(self, box: tuple[float, float, float, float], size: tuple[int, int]) -> bool:
        if self.zone is None:
            return True
        height, width = size
        x0, y0, x1, y1 = box[0] / width, box[1] / height, box[2] / width, box[3] / height
        if self.inside is None:
            return holds_point(self.zone, ((x0 + x1) / 2, (y0 + y1) / 2))
        return share_inside(self.zone, (x0, y0, x1, y1)) >= self.inside - 1e-9  # rounding


def check_sink(sink: object, manifest: Manifest) -> None:
    """Refuse a sink, or a rule of it (see `Sink`), that asks for what its engine does not give.

    Args:
        sink: Any sink.
        manifest: The engine's.

    Raises:
        InputError: It is for a class that the engine does not have, or for a score of a Segmenter.
    """
    known, rules = manifest.classes, getattr(sink, "rules", ())
    least = {f"The sink {type(sink).__name__}": getattr(sink, "min_score", 0.0)}
    least |= {f"The rule '{rule.name}'": rule.min_score for rule in rules}
    for who, score in least.items():
        if score and manifest.task != "localization":
            raise InputError(
                f"{who} has min_score {score}, but an engine for {manifest.task} gives no scores.",
                hint="Leave min_score out.",
            )
    for rule in rules:
        for name in rule.classes:
            if name not in known:
                raise InputError(
                    f"The rule '{rule.name}' is for the class '{name}', which the engine does not "
                    "have.",
                    hint=_meant(name, known),
                )


def _meant(name: str, known: Sequence[str]) -> str:
    folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    if near:
        return f"Did you mean '{folded[near[0]]}'?"
    if len(known) > _LISTED:
        return f"bas-edge inspect ENGINE lists its {len(known)} classes."
    return f"The engine has {', '.join(known)}."


@dataclass(frozen=True, slots=True)
class RuleState:
    """Where one rule stands with one stream; times are `FrameResult.time_s`.

    Attributes:
        since_s: Since when the rule has held; None while it does not.
        held_s: When it held last.
        missed: It has not held in a frame since.
        fired: There was an event since `since_s`.
        fired_s: When there was one last; None before the first.
    """

    since_s: float | None = None
    held_s: float = 0.0
    missed: bool = False
    fired: bool = False
    fired_s: float | None = None


def step(
    rule: EventRule, state: RuleState, time_s: float, *, holds: bool, lost: bool = False
) -> tuple[RuleState, bool]:
    """The state after one more frame, and whether there is an event now.

    There is one event for each time that the rule begins to hold, as soon as it has held for
    `dwell_s` and `cooldown_s` after the last event are over.

    Args:
        rule: The rule.
        state: That after the frame before; `RuleState()` at first.
        time_s: Of this frame.
        holds: All but the times is fulfilled in this frame.
        lost: Nobody knows what was between the frame before and this one.
    """
    since_s, fired = state.since_s, state.fired
    broken = (state.missed or not holds) and time_s - state.held_s > rule.grace_s
    if lost or broken:
        since_s, fired = None, False
    if not holds:
        return RuleState(since_s, state.held_s, True, fired, state.fired_s), False
    if since_s is None:
        since_s = time_s
    cool = state.fired_s is None or time_s - state.fired_s >= rule.cooldown_s
    fires = not fired and cool and time_s - since_s >= rule.dwell_s
    fired_s = time_s if fires else state.fired_s
    return RuleState(since_s, time_s, False, fired or fires, fired_s), fires


@dataclass(frozen=True, slots=True)
class RuleEvent:
    """A rule came true.

    Attributes:
        rule: The rule's name.
        stream: Where.
        frame: Number of the frame that it came true in.
        time_s: That frame's time in the stream.
        at: That frame's arrival: Unix time in seconds.
        class_name: What was found.
        score: How sure; None from a Segmenter.
        box: (x0, y0, x1, y1) in pixels of the frame, half-open.
        clip: The video of it, once it is there.
    """

    rule: str
    stream: str
    frame: int
    time_s: float
    at: float
    class_name: str
    score: float | None
    box: tuple[float, float, float, float]
    clip: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; told from other lines by its key "event"."""
        return {
            "event": "rule",
            "rule": self.rule,
            "stream": self.stream,
            "frame": self.frame,
            "time_s": round(self.time_s, 6),
            "at": utc(self.at),
            "class_name": self.class_name,
            "score": None if self.score is None else float(self.score),
            "box": list(self.box),
            "clip": None if self.clip is None else str(self.clip),
        }


class RuleWatch:
    """Watches the streams for one rule.

    Where a stream stalled, was lost or was paused, a dwell begins anew: nobody looked.
    """

    def __init__(self, rule: EventRule) -> None:
        self.rule = rule
        self._states: dict[str, RuleState] = {}
        self._holes = Holes(_HOLE_S)
        self._lost: set[str] = set()

    def see(self, result: FrameResult) -> RuleEvent | None:
        """The event that this result completes, if it does; each result once, in order."""
        found = self.rule.object_that_counts(result.finding)
        lost = self._holes.before(result) or result.stream in self._lost
        self._lost.discard(result.stream)
        state, fires = step(
            self.rule,
            self._states.get(result.stream, RuleState()),
            result.time_s,
            holds=found is not None,
            lost=lost,
        )
        self._states[result.stream] = state
        if not fires or found is None:
            return None
        return RuleEvent(
            rule=self.rule.name,
            stream=result.stream,
            frame=result.index,
            time_s=result.time_s,
            at=result.frame.captured_at,
            class_name=found.class_name,
            score=found.score,
            box=found.box,
        )

    def event(self, event: StreamEvent) -> None:
        """A change of state, in order with the results."""
        if event.state in ("stalled", "reconnecting", "ended"):
            self._lost.add(event.stream)
