"""Rules: what counts, where, for how long, and how often."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_results import result
from stub_localizer import StubLocalizer

from bas_edge.errors import InputError
from bas_edge.video import StreamEvent
from bas_edge.video.sinks.event_rules import (
    EventRule,
    RuleState,
    RuleWatch,
    check_sink,
    step,
)

LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def fired(rule: EventRule, seen: list[tuple[float, bool]], lost_at: float = -1.0) -> list[float]:
    """The times of events, of (time, holds) pairs."""
    state, events = RuleState(), []
    for time_s, holds in seen:
        state, fires = step(rule, state, time_s, holds=holds, lost=time_s == lost_at)
        if fires:
            events.append(time_s)
    return events


def ticks(text: str) -> list[tuple[float, bool]]:
    """One second a letter: "x" holds, "." does not, " " is a frame that was dropped."""
    return [(float(at), letter == "x") for at, letter in enumerate(text) if letter != " "]


@pytest.mark.parametrize(
    ("rule", "seen", "expected"),
    [
        (EventRule("r", cooldown_s=0), "..xx..x", [2, 6]),
        (EventRule("r", cooldown_s=10), "x.x.x.x.x.x.x", [0, 10]),
        (EventRule("r", cooldown_s=3), "xxxxxxxxxx", [0]),  # one event each time it begins
        (EventRule("r", cooldown_s=3), "x.xxxx", [0, 3]),  # began while it was cooling down
        (EventRule("r", dwell_s=2), ".xxx", [3]),
        (EventRule("r", dwell_s=2), ".xx.xx.xxx", [9]),
        (EventRule("r", dwell_s=2, grace_s=2), ".xx.x", [4]),  # one missed frame is forgiven
        (EventRule("r", dwell_s=3, grace_s=2), ".xx..xxx", []),  # two are not
        (EventRule("r", dwell_s=2, grace_s=0), ".x  x", [4]),  # dropped frames break nothing
        (EventRule("r", dwell_s=3, grace_s=2), "x.  x", []),  # but a miss and then no frames do
    ],
)
def test_when_events_come(rule: EventRule, seen: str, expected: list[float]) -> None:
    assert fired(rule, ticks(seen)) == expected


def test_a_lost_connection_begins_anew() -> None:
    rule = EventRule("r", dwell_s=3)
    assert fired(rule, ticks("xxxxxx")) == [3]
    assert fired(rule, ticks("xxxxxx"), lost_at=2) == [5]


@given(
    holds=st.lists(st.booleans(), max_size=60),
    dwell_s=st.floats(0, 5),
    cooldown_s=st.floats(0, 5),
    grace_s=st.floats(0, 3),
)
def test_events_keep_their_distance_and_their_dwell(
    holds: list[bool], dwell_s: float, cooldown_s: float, grace_s: float
) -> None:
    rule = EventRule("r", dwell_s=dwell_s, cooldown_s=cooldown_s, grace_s=grace_s)
    seen = [(at / 2, hold) for at, hold in enumerate(holds)]
    events = fired(rule, seen)
    assert all(after - before >= cooldown_s for before, after in pairwise(events))
    for at in events:
        assert dict(seen)[at]
        last_hold = None
        for time_s, hold in seen:  # within the dwell no break is longer than the grace
            if at - dwell_s <= time_s <= at and hold:
                if last_hold is not None and time_s - last_hold > 0.5:
                    assert time_s - last_hold <= grace_s
                last_hold = time_s


def see(rule: EventRule, **options: object) -> bool:
    return RuleWatch(rule).see(result(**options)) is not None


def test_classes_and_scores() -> None:
    rule = EventRule("r", classes=("wren", "robin"), min_score=0.6)
    assert see(rule, class_name="wren", score=0.6)
    assert not see(rule, class_name="wren", score=0.59)
    assert not see(rule, class_name="crow", score=0.9)
    assert not see(rule, found=False)
    assert see(EventRule("r"), class_name="anything", score=0.0)


@pytest.mark.parametrize(
    ("box", "centre", "half", "all_of_it"),
    [
        ((10.0, 10.0, 30.0, 40.0), True, True, True),
        ((20.0, 10.0, 40.0, 40.0), True, True, False),  # 12 of 20 columns; centre at 30 of 32
        ((22.0, 10.0, 42.0, 40.0), False, True, False),  # exactly half; the right edge is outside
        ((30.0, 10.0, 60.0, 40.0), False, False, False),
    ],
)
def test_zones(
    box: tuple[float, float, float, float], centre: bool, half: bool, all_of_it: bool
) -> None:
    assert see(EventRule("r", zone=LEFT), box=box) == centre
    assert see(EventRule("r", zone=LEFT, inside=0.5), box=box) == half
    assert see(EventRule("r", zone=LEFT, inside=1.0), box=box) == all_of_it


def test_an_event_says_what_and_when() -> None:
    event = RuleWatch(EventRule("sill")).see(result(4))
    assert event is not None
    assert event.to_dict() == {
        "event": "rule",
        "rule": "sill",
        "stream": "door",
        "frame": 4,
        "time_s": 0.16,
        "at": "2026-11-22T04:05:06.949Z",
        "class_name": "wren",
        "score": 0.75,
        "box": [16.0, 12.0, 48.0, 36.0],
        "clip": None,
    }


def test_streams_are_watched_apart() -> None:
    watch = RuleWatch(EventRule("r", cooldown_s=100))
    assert watch.see(result(stream="door")) is not None
    assert watch.see(result(stream="yard")) is not None
    assert watch.see(result(1, stream="door")) is None


def events_of(
    rule: EventRule, times: list[float], state: str = "", before: float = 0
) -> list[float]:
    """When events come of an object that is in every frame; the state changes once, before one."""
    watch, events = RuleWatch(rule), []
    for index, time_s in enumerate(times):
        if state and time_s == before:
            watch.event(StreamEvent("yard", "stalled", 0.0))
            watch.event(StreamEvent("door", state, 0.0))
        if watch.see(result(index, time_s)) is not None:
            events.append(time_s)
    return events


STEADY = [at / 5 for at in range(51)]  # ten seconds


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0.0, 0.2, 40.0, 40.2], []),  # nobody looked for 39.8 s
        ([*STEADY, *(60 + at for at in STEADY)], [5.0, 65.0]),
        ([at for at in STEADY if not 2 < at < 4], [5.0]),  # two seconds are no hole
        ([at for at in STEADY if not 2 < at < 4.2], [9.2]),
        ([3.0 * at for at in range(6)], [9.0]),  # slow, but steady; the first time is new to it
        ([8.0 * at for at in range(6)], [16.0]),
    ],
)
def test_a_hole_in_time_ends_a_dwell(times: list[float], expected: list[float]) -> None:
    assert events_of(EventRule("r", dwell_s=4.9, cooldown_s=0), times) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [("stalled", [8.0]), ("reconnecting", [8.0]), ("ended", [8.0]), ("running", [5.0])],
)
def test_a_stream_that_nobody_sees_ends_a_dwell(state: str, expected: list[float]) -> None:
    rule = EventRule("r", dwell_s=4.9, cooldown_s=0)
    assert events_of(rule, STEADY, state, before=3.0) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "has no name"),
        ({"classes": "wren"}, "are one text: 'wren'"),
        ({"min_score": 60}, "min_score 60"),
        ({"inside": 0}, "inside 0, but it is over 0"),
        ({"dwell_s": -1}, "dwell_s -1, but no time is negative"),
        ({"cooldown_s": float("nan")}, "cooldown_s nan"),
        ({"zone": ((0, 0), (1, 1))}, "has 2 corners"),
    ],
)
def test_rules_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EventRule(**{"name": "r", **options})


class Ruled:
    def __init__(self, *classes: str) -> None:
        self.rules = (EventRule("any"), EventRule("some", classes=classes))


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("wrenn", ["tit", "wren"], "Did you mean 'wren'?"),
        ("cat", ["tit", "wren"], "The engine has tit, wren."),
        ("WREN", ["Tit", "Wren"], "Did you mean 'Wren'?"),
        ("cat", [f"bird {n}" for n in range(21)], "bas-edge inspect ENGINE lists its 21 classes."),
    ],
)
def test_a_rule_for_a_class_that_no_engine_has(name: str, known: list[str], hint: str) -> None:
    engine = msgspec.structs.replace(StubLocalizer.manifest, classes=tuple(known), k=len(known))
    check_sink(object(), engine)
    check_sink(Ruled(known[0], known[-1]), engine)
    with pytest.raises(InputError, match=f"'some' is for the class '{name}'") as caught:
        check_sink(Ruled(known[0], name), engine)
    assert caught.value.hint == hint
