"""A lost camera is tried again, a silent one is noticed, and nothing is left behind."""

from __future__ import annotations

import gc
import os
import threading
import time
import traceback
import weakref
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_source import (
    AT_ONCE,
    PATIENCE_S,
    Scripted,
    collect,
    number_of,
    reading_threads,
    stream_of,
    until,
)

from bas_edge.errors import (
    InputError,
    StreamAuthenticationError,
    StreamCodecError,
    StreamConnectionError,
    StreamError,
    StreamNotFoundError,
    StreamTimeoutError,
)
from bas_edge.video import Reconnect, StreamEvent
from bas_edge.video.sources import pacing, stream_reader

LOST = StreamConnectionError("fake://camera was lost.")
TWICE = Reconnect(first_s=0, longest_s=0, attempts=2)
HOPELESS = [StreamAuthenticationError, StreamNotFoundError, StreamCodecError]


def states(events: list[StreamEvent]) -> list[str]:
    return [event.state for event in events]


def test_states_in_their_order_and_why() -> None:
    stream, events = stream_of(LOST, Scripted(0, LOST), LOST, Scripted(1, "stay"))
    stream.start()
    frames = [stream.take(PATIENCE_S), stream.take(PATIENCE_S)]
    assert [frame.index for frame in frames if frame] == [0, 1]
    stream.close()
    assert states(events) == [
        *("connecting", "connecting", "running", "reconnecting", "reconnecting", "running"),
        "ended",
    ]
    assert events[1].reason == "fake://camera was lost. Next attempt in 0.0 s."
    assert events[1].error is LOST
    assert events[-1].reason == "closed"
    assert all(earlier.at <= later.at for earlier, later in pairwise(events))


def test_the_gap_is_told_by_the_first_frame_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now, time=lambda: clock.now)
    for module in (stream_reader, pacing):
        monkeypatch.setattr(module, "time", clock)
    later = partial(setattr, clock, "now", 107.5)
    stream, _ = stream_of(Scripted(0, 1, LOST), Scripted(later, 2, 3, "stay"))
    stream.start()
    frames = [stream.take(PATIENCE_S) for _ in range(4)]
    stream.close()
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.dropped for frame in frames] == [0, 0, 0, 0]
    assert [frame.gap_s for frame in frames] == [0, 0, 7.5, 0]
    assert frames[2].time_s - frames[1].time_s == pytest.approx(7.5)


def test_the_end_of_a_live_connection_is_a_loss() -> None:
    stream, events = stream_of(Scripted(0), Scripted(1, "stay"))
    stream.start()
    assert [stream.take(PATIENCE_S) is not None for _ in range(2)] == [True, True]
    stream.close()
    assert "was closed from the other side" in events[2].reason


def test_a_file_behind_a_live_address_ends() -> None:
    clip = Scripted(0, 1)
    vars(clip)["ends"] = True
    stream, events = stream_of(clip)
    assert len(list(stream)) == 2
    assert states(events) == ["connecting", "running", "ended"]


def test_waits_follow_the_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def wait_s(self: Reconnect, failures: int, draw: Any) -> float:
        asked.append(failures)
        return 0.0

    monkeypatch.setattr(Reconnect, "wait_s", wait_s)
    calm = Reconnect(calm_s=0, attempts=3)
    stream, _ = stream_of(LOST, LOST, Scripted(0, "sound", LOST), reconnect=calm)
    with pytest.raises(StreamConnectionError, match="does not answer"):
        list(stream)
    assert asked == [1, 2, 1, 2, 3]  # a calm connection began them anew


def test_a_connection_that_never_shows_a_picture_is_not_calm() -> None:
    lost = [Scripted("damage", "sound", "damage", LOST) for _ in range(9)]
    stream, _ = stream_of(*lost, reconnect=Reconnect(first_s=0, longest_s=0, calm_s=0, attempts=2))
    with pytest.raises(StreamConnectionError):
        list(stream)
    assert stream.stats().connections == 3


@pytest.mark.parametrize("attempts", [0, 1, 5])
def test_it_gives_up_after_so_many_failures(attempts: int) -> None:
    patience = Reconnect(first_s=0, longest_s=0, attempts=attempts)
    stream, events = stream_of(*[LOST] * 20, reconnect=patience)
    with pytest.raises(StreamConnectionError) as caught:
        list(stream)
    assert caught.value is LOST
    assert stream.stats().failures == attempts + 1
    assert states(events) == ["connecting"] * (attempts + 1) + ["ended"]
    assert events[-1].error is LOST


@pytest.mark.parametrize("kind", HOPELESS)
def test_what_is_hopeless_at_first_ends_at_once(kind: type[StreamError]) -> None:
    stream, events = stream_of(kind("no."), Scripted(0))
    with pytest.raises(kind):
        list(stream)
    assert states(events) == ["connecting", "ended"]


@pytest.mark.parametrize("kind", HOPELESS)
@pytest.mark.parametrize("reached", [True, False])
def test_it_is_not_hopeless_where_it_worked_or_always_is_asked(
    kind: type[StreamError], reached: bool
) -> None:
    first = [Scripted(0, LOST)] if reached else []
    again = Reconnect(first_s=0, longest_s=0, attempts=5, always=not reached)
    stream, _ = stream_of(*first, kind("no."), kind("no."), Scripted(1), reconnect=again)
    assert collect(stream) == ([0, 1] if reached else [1])
    with pytest.raises(StreamConnectionError):
        list(stream)


def test_errors_that_are_handed_out_hold_no_secret_and_no_connection() -> None:
    """What FFmpeg said is not in them: as the context of an error a log would print it."""

    def break_off() -> None:
        try:
            raise OSError("[Errno 5] rtsp://me:hunter2@camera/live")
        except OSError:
            raise StreamConnectionError("rtsp://***@camera/live was lost.") from None

    captures = [Scripted(0, break_off), Scripted(1, break_off)]
    kept = [weakref.ref(capture) for capture in captures]
    stream, events = stream_of(*captures, reconnect=Reconnect(first_s=0, longest_s=0, attempts=1))
    del captures
    assert collect(stream) == [0, 1]
    errors = [event.error for event in events if event.error is not None]
    assert errors[-1] is stream.error
    assert len(errors) == 2
    for error in errors:
        assert "hunter2" not in "".join(traceback.format_exception(error))
        assert error.__context__ is None
    gc.collect()
    assert [one() for one in kept] == [None, None]


def test_what_breaks_while_it_is_closed_is_no_failure() -> None:
    def break_off() -> None:
        until(lambda: stream.finished)
        raise LOST

    stream, events = stream_of(Scripted(0, break_off))
    stream.start()
    assert stream.take(PATIENCE_S) is not None
    stream.close()
    until(lambda: not reading_threads())
    assert stream.error is None
    assert (events[-1].state, events[-1].reason, events[-1].error) == ("ended", "closed", None)


def test_an_error_of_ours_is_not_tried_again() -> None:
    stream, _ = stream_of(InputError("no such file"), Scripted(0))
    with pytest.raises(InputError):
        list(stream)


def test_a_stall_is_noticed_and_over_with_the_next_frame() -> None:
    go_on = threading.Event()
    stream, events = stream_of(Scripted(0, go_on, 1, "stay"), stall_s=0.02, silence_s=60)
    stream.start()
    assert stream.take(PATIENCE_S) is not None
    until(lambda: stream.watch() or stream.state == "stalled")
    assert events[-1].reason.startswith("no frame for 0.")
    go_on.set()
    assert stream.take(PATIENCE_S) is not None
    assert stream.state in ("running", "stalled")  # it may be silent again already
    stream.close()
    assert states(events)[:4] == ["connecting", "running", "stalled", "running"]


def test_a_listener_that_raises_at_a_stall_ends_its_stream_with_that() -> None:
    stream, events = stream_of(Scripted(0, "stay"), stall_s=0.01, silence_s=60)

    def listener(event: StreamEvent) -> None:
        if event.state == "stalled":
            raise LookupError("no place for stalled")

    stream.listen(listener)
    with pytest.raises(LookupError, match="no place for stalled"):
        list(stream)
    until(lambda: states(events)[-1] == "ended")
    assert events[-1].reason == "no place for stalled"
    until(lambda: not reading_threads())


def test_a_listener_that_raises_does_not_keep_back_the_end() -> None:
    """It raises at a stall, on one thread, while the other has come to the end."""
    go_on = threading.Event()
    once = Reconnect(attempts=0)
    stream, events = stream_of(Scripted(0, go_on), stall_s=0.01, silence_s=60, reconnect=once)

    def listener(event: StreamEvent) -> None:
        if event.state == "stalled":
            go_on.set()
            until(lambda: stream.state == "ended")
            raise LookupError("no place for stalled")

    stream.listen(listener)
    stream.start()
    until(lambda: stream.watch() or stream.state == "ended")
    until(lambda: not reading_threads())
    assert states(events) == ["connecting", "running", "stalled", "ended"]
    assert isinstance(stream.error, StreamConnectionError)


def test_data_without_pictures_is_silence() -> None:
    """Sound that goes on, or pictures of which none decodes."""
    noise = ["sound", "damage", lambda: time.sleep(0.001)] * 2000
    stream, _ = stream_of(
        Scripted(0, *noise), stall_s=0.02, silence_s=0.1, reconnect=Reconnect(attempts=0)
    )
    with pytest.raises(StreamTimeoutError, match=r"sends data, but nothing that decodes for 0.1 s"):
        list(stream)


def test_a_slow_taker_is_no_stall_and_no_silence() -> None:
    stream, events = stream_of(
        Scripted(*range(8), "stay"), depth=1, stall_s=0.05, silence_s=60, policy="wait"
    )
    stream.start()
    until(lambda: stream.stats().decoded == 2)  # one waits, one is in the reader's hand
    time.sleep(0.1)
    stream.watch()
    for _ in range(8):
        assert stream.take(PATIENCE_S) is not None
    stream.close()
    assert "reconnecting" not in states(events)
    assert states(events)[:2] == ["connecting", "running"]
    stalled_at = [event.at for event in events if event.state == "stalled"]
    assert not stalled_at


def test_a_paused_camera_does_not_stall() -> None:
    stream, events = stream_of(Scripted(0, "stay"), stall_s=0.01, silence_s=60)
    stream.start()
    assert stream.take(PATIENCE_S) is not None
    stream.pause()
    time.sleep(0.05)
    stream.watch()
    stream.close()
    assert "stalled" not in states(events)


def test_events_keep_their_order_between_two_threads() -> None:
    """One thread notices stalls while the other reads on."""
    go_on = [threading.Event() for _ in range(30)]
    steps = [step for number, event in enumerate(go_on) for step in (number, event)]
    stream, events = stream_of(Scripted(*steps, "stay"), stall_s=0.001, silence_s=60)
    stream.start()
    for event in go_on:
        until(lambda: stream.watch() or stream.state == "stalled")
        event.set()
        until(lambda: stream.take() is not None)
    stream.close()
    seen = states(events)[1:-1]
    assert seen == ["running", "stalled"] * (len(seen) // 2) + ["running"] * (len(seen) % 2)
    assert len(seen) > 30


@pytest.mark.parametrize("state", ["connecting", "running", "stalled", "reconnecting", "ended"])
def test_close_from_every_state_leaves_nothing(state: str) -> None:
    gc.collect()  # of earlier tests, so that nothing of theirs goes meanwhile
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208  (a count is all)
    scripts: dict[str, list[Any]] = {
        "connecting": [LOST] * 1000,
        "running": [Scripted(0, "stay")],
        "stalled": [Scripted(0, "stay")],
        "reconnecting": [Scripted(0, LOST)],
        "ended": [StreamAuthenticationError("no.")],
    }
    waits = Reconnect(first_s=100, longest_s=100, jitter=0)
    stream, events = stream_of(*scripts[state], reconnect=waits, stall_s=0.01, silence_s=60)
    stream.start()
    if state == "connecting":
        until(lambda: stream.stats().failures == 1)
    until(lambda: stream.watch() or stream.state == state)
    stream.close()
    stream.close()
    until(lambda: not reading_threads())
    assert states(events)[-1] == "ended"
    assert states(events).count("ended") == 1
    assert stream.finished
    if before:
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  (a count is all)


def test_a_source_that_does_not_come_back_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = threading.Event()
    streams = [stream_of(Scripted(0, silent))[0] for _ in range(3)]
    waits: list[float] = []
    join = threading.Thread.join

    def joined(thread: threading.Thread, timeout: float | None = None) -> None:
        assert timeout is not None
        waits.append(timeout)
        join(thread, timeout)

    for stream in streams:
        stream.start()
        until(lambda stream=stream: stream.ready)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "join", joined)
        for wait_s in (0.0, 0.05, 0.05):
            for stream in streams:
                stream.close(wait_s)
    assert [len(waits), max(waits) <= 0.05, waits[:3], waits[-3:]] == [9, True, [0] * 3, [0] * 3]
    assert sum(waits) < 0.06  # each began when all had been told
    silent.set()
    until(lambda: not reading_threads())


def test_two_hundred_reconnects_leave_nothing() -> None:
    captures = [Scripted(number, LOST) for number in range(200)]
    kept = [weakref.ref(capture) for capture in captures]
    stream, events = stream_of(*captures, reconnect=AT_ONCE)
    del captures
    stream.start()
    threads = set(threading.enumerate())
    for number in range(200):
        frame = stream.take(PATIENCE_S)
        assert frame is not None
        assert (number_of(frame.pixels), frame.index, frame.dropped) == (number, number, 0)
    until(lambda: stream.stats().failures > 200)
    assert set(threading.enumerate()) <= threads
    stream.close()
    gc.collect()
    # The events of all of them are still there, with what was caught.
    assert sum(event.error is not None for event in events) >= 200
    assert sum(one() is not None for one in kept) <= 1
    assert not reading_threads()
