"""A stream counts, drops and ends as it says; reconnecting has a file of its own."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scripted_source import (
    PATIENCE_S,
    Scripted,
    collect,
    number_of,
    reading_threads,
    stream_of,
    until,
)

from bas_edge.errors import InputError
from bas_edge.video import Stream, StreamEvent, VideoFrame


def numbers(frames: list[VideoFrame]) -> list[int]:
    return [number_of(frame.pixels) for frame in frames]


def test_a_file_gives_every_frame_and_ends() -> None:
    stream, events = stream_of(Scripted(*range(50)), live=False)
    frames = list(stream)
    assert numbers(frames) == [frame.index for frame in frames] == list(range(50))
    assert [frame.time_s for frame in frames] == pytest.approx([n / 25 for n in range(50)])
    assert all(frame.dropped == 0 and frame.gap_s == 0 for frame in frames)
    assert [event.state for event in events] == ["connecting", "running", "ended"]
    assert events[-1].reason == "the source has come to its end"
    assert (stream.state, stream.error, stream.finished) == ("ended", None, True)
    stats = stream.stats()
    assert (stats.decoded, stats.delivered, stats.dropped, stats.damaged) == (50, 50, 0, 0)
    assert not reading_threads()


def test_a_slow_taker_loses_nothing_under_wait() -> None:
    stream, _ = stream_of(Scripted(*range(30)), live=False, depth=2)
    stream.start()
    seen = []
    until(lambda: stream.stats().waiting == 2)
    while not stream.finished:
        assert stream.stats().decoded <= len(seen) + 3  # two wait, one is in the reader's hand
        frame = stream.take(PATIENCE_S)
        if frame is not None:
            seen.append(number_of(frame.pixels))
    assert seen == list(range(30))


@pytest.mark.parametrize(
    ("policy", "depth", "expected", "dropped"),
    [("newest", None, [9], [9]), ("newest", 2, [8, 9], [8, 0]), ("oldest", 2, [0, 1], [0, 0])],
)
def test_what_waits_while_nobody_takes(
    policy: str, depth: int | None, expected: list[int], dropped: list[int]
) -> None:
    stream, _ = stream_of(Scripted(*range(10)), live=False, policy=policy, depth=depth)
    stream.start()
    until(lambda: stream.state == "ended")
    assert stream.stats().dropped == 10 - len(expected)
    frames = list(stream)
    assert numbers(frames) == expected
    assert [frame.dropped for frame in frames] == dropped


def test_frames_after_the_oldest_say_how_many_gave_way() -> None:
    taken = threading.Event()
    stream, _ = stream_of(Scripted(*range(10), taken, 10), live=False, policy="oldest", depth=2)
    stream.start()
    until(lambda: stream.stats().decoded == 10)
    first = [stream.take(), stream.take()]
    taken.set()
    frames = [frame for frame in first if frame is not None] + list(stream)
    assert [(frame.index, frame.dropped) for frame in frames] == [(0, 0), (1, 0), (10, 8)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"stride": 3}, [0, 3, 6, 9]),
        ({"max_fps": 12.5}, [0, 2, 4, 6, 8]),
        ({"stride": 2, "max_fps": 5.0}, [0, 6]),
        ({"max_fps": 1000.0}, list(range(10))),
    ],
)
def test_stride_and_max_fps_drop_and_count(options: dict[str, Any], expected: list[int]) -> None:
    stream, _ = stream_of(Scripted(*range(10)), live=False, **options)
    frames = list(stream)
    assert numbers(frames) == expected
    seen = [-1, *expected]
    assert [frame.dropped for frame in frames] == [
        later - earlier - 1 for earlier, later in pairwise(seen)
    ]


def test_damaged_frames_are_counted_and_have_their_number() -> None:
    stream, _ = stream_of(Scripted(0, "damage", "damage", 1, "sound", 2), live=False)
    frames = list(stream)
    assert [(frame.index, frame.dropped) for frame in frames] == [(0, 0), (3, 2), (4, 0)]
    assert (stream.stats().damaged, stream.stats().dropped) == (2, 0)


def test_a_looped_file_goes_on_in_number_and_time() -> None:
    stream, events = stream_of(*[Scripted(0, 1, 2) for _ in range(4)], live=False, loop=True)
    stream.start()
    frames = [frame for frame in (stream.take(PATIENCE_S) for _ in range(12)) if frame]
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx([n / 25 for n in range(12)])
    assert [event.state for event in events if event.state != "ended"] == ["connecting", "running"]
    stream.close()


def test_a_loop_without_one_whole_frame_ends() -> None:
    stream, _ = stream_of(Scripted("damage", "damage"), live=False, loop=True)
    assert list(stream) == []
    assert stream.stats().damaged == 2


def test_realtime_frames_come_no_earlier_than_they_stand() -> None:
    stream, _ = stream_of(Scripted(*range(4)), live=False, realtime=True)
    frames = list(stream)
    assert numbers(frames) == [0, 1, 2, 3]
    first = frames[0].captured_at - frames[0].time_s
    assert all(frame.captured_at - frame.time_s > first - 0.01 for frame in frames)


def test_an_error_comes_after_the_frames_before_it() -> None:
    stream, events = stream_of(Scripted(0, 1, RuntimeError("broken program")), live=False)
    assert collect(stream) == [0, 1]
    with pytest.raises(RuntimeError, match="broken program"):
        list(stream)
    assert events[-1].state == "ended"
    assert events[-1].reason == "broken program"
    assert events[-1].error is None  # it is none of ours
    with pytest.raises(RuntimeError, match="broken program"):
        list(stream)


def test_what_a_program_raises_is_told_without_its_secrets() -> None:
    error = OSError("rtsp://me:hunter2@camera/live does not answer")
    stream, events = stream_of(Scripted(0, error), live=False)
    assert collect(stream) == [0]
    assert events[-1].reason == "rtsp://***@camera/live does not answer"
    assert stream.stats().reason == events[-1].reason
    assert stream.error is error  # raised as it is by whoever iterates


def test_a_paused_file_waits() -> None:
    stream, _ = stream_of(Scripted(*range(10)), live=False)
    stream.start()
    assert stream.take(PATIENCE_S) is not None
    stream.pause()
    assert stream.paused
    assert not stream.ready
    assert stream.take(0.02) is None
    assert not stream.finished
    stream.resume()
    assert numbers(list(stream)) == list(range(1, 10))
    assert stream.stats().dropped == 0


@pytest.mark.parametrize("policy", ["newest", "wait"])
def test_a_paused_camera_drops_what_it_sends(policy: str) -> None:
    paused, resumed = threading.Event(), threading.Event()
    stream, _ = stream_of(
        Scripted(0, paused, *range(1, 8), resumed, 8, "stay"), policy=policy, depth=1
    )
    stream.start()
    until(lambda: stream.ready)  # from before the pause: it is not to come after it
    stream.pause()
    paused.set()
    until(lambda: stream.stats().decoded == 8)
    assert stream.take() is None
    stream.resume()
    resumed.set()
    frame = stream.take(PATIENCE_S)
    assert frame is not None
    assert (frame.index, frame.dropped) == (8, 8)
    stream.close()


def test_no_frame_from_before_a_pause_comes_after_it() -> None:
    """Neither one that waits, nor one that the reader holds because the queue is full."""
    resumed = threading.Event()
    stream, _ = stream_of(Scripted(0, 1, resumed, 2, "stay"), policy="wait", depth=1)
    stream.start()
    until(lambda: stream.stats().decoded == 2)
    stream.pause()
    until(lambda: stream.stats().dropped == 2)
    stream.resume()
    resumed.set()
    frame = stream.take(PATIENCE_S)
    assert frame is not None
    assert (frame.index, frame.dropped) == (2, 2)
    stream.close()


def test_a_frame_that_waits_for_room_is_not_dropped() -> None:
    stream, _ = stream_of(Scripted(*range(9), "damage"), live=False)
    stream.start()
    until(lambda: stream.stats().decoded == 4)
    assert (stream.stats().waiting, stream.stats().dropped) == (3, 0)
    assert stream.take(PATIENCE_S) is not None
    stream.close()
    stats = stream.stats()
    assert stats.dropped == stats.decoded - stats.damaged - stats.delivered > 0


def test_close_sets_a_paused_stream_free() -> None:
    stream, _ = stream_of(Scripted(*range(10)), live=False)
    stream.start()
    stream.pause()
    stream.close()
    assert stream.finished
    assert stream.take(None) is None
    assert not reading_threads()


def test_wakers_and_listeners_are_told() -> None:
    stream, events = stream_of(Scripted(0), live=False)
    woken: list[str] = []
    stream.wake(lambda: woken.append(stream.state))
    assert len(list(stream)) == 1
    assert len(woken) >= len(events) + 2  # a frame, and the end of the queue
    assert woken[-1] == "ended"


@pytest.mark.parametrize("at", ["connecting", "running", "ended"])
def test_a_listener_that_raises_ends_the_stream_with_its_error(at: str) -> None:
    stream, _ = stream_of(Scripted(*range(3)), live=False)

    def listener(event: StreamEvent) -> None:
        if event.state == at:
            raise LookupError(f"no place for {event.state}")

    stream.listen(listener)
    with pytest.raises(LookupError, match=f"no place for {at}"):
        list(stream)
    assert stream.finished
    assert stream.state == "ended"


def test_a_listener_that_raises_keeps_nothing_from_the_others() -> None:
    stream, before = stream_of(Scripted(0), live=False)
    after: list[str] = []
    woken: list[str] = []

    def listener(event: StreamEvent) -> None:
        raise LookupError(event.state)

    stream.listen(listener)
    stream.listen(lambda event: after.append(event.state))
    stream.wake(lambda: woken.append(stream.state))
    with pytest.raises(LookupError, match="connecting"):
        list(stream)
    assert after == [event.state for event in before] == ["connecting", "ended"]
    assert "ended" in woken


def test_a_listener_that_raises_while_a_stream_is_closed_hinders_nobody() -> None:
    stream, events = stream_of(Scripted(0))

    def listener(event: StreamEvent) -> None:
        raise LookupError(event.state)

    stream.listen(listener)
    stream.close()
    assert isinstance(stream.error, LookupError)
    assert [event.state for event in events] == ["ended"]


def test_who_listens_after_the_end_is_told_of_it() -> None:
    stream, events = stream_of(Scripted(0), live=False)
    late: list[StreamEvent] = []
    stream.start()
    stream.listen(lambda event: late.append(event) if event.state == "ended" else None)
    until(lambda: stream.state == "ended" and events[-1].state == "ended")
    stream.listen(late.append)
    assert late == [events[-1], events[-1]]


def test_a_listener_may_close_the_stream() -> None:
    stream, events = stream_of(Scripted(*range(100), "stay"))
    stream.listen(lambda event: stream.close() if event.state == "running" else None)
    assert len(list(stream)) == 0
    until(lambda: not reading_threads())
    assert [event.state for event in events] == ["connecting", "running", "ended"]


def test_close_before_start_ends_it() -> None:
    stream, events = stream_of(Scripted(0))
    stream.close()
    stream.close()
    assert (stream.state, stream.finished) == ("ended", True)
    assert [event.state for event in events] == ["ended"]
    with pytest.raises(InputError, match="The stream 'camera' is closed"):
        stream.start()


def test_iterating_twice_goes_on() -> None:
    stream, _ = stream_of(Scripted(*range(6)), live=False)
    iterator = iter(stream)
    assert numbers([next(iterator), next(iterator)]) == [0, 1]
    assert numbers(list(stream)) == [2, 3, 4, 5]


def test_it_shows_itself_without_its_address_in_full() -> None:
    stream, _ = stream_of(Scripted(0), live=False)
    assert repr(stream) == "<Stream 'camera': fake://camera, connecting>"
    stats = stream.stats()
    assert (stats.details, stats.last_frame_at, stats.fps) == ("", None, 0.0)
    list(stream)
    assert stream.stats().details == "scripted"
    assert stream.fps == 25.0
    assert stream.stats().last_frame_at is not None


def test_one_frame_is_shared_as_it_is() -> None:
    stream, _ = stream_of(Scripted(70_000), live=False)
    (frame,) = stream
    assert frame.pixels.dtype == np.uint8
    assert number_of(frame.pixels) == 70_000
    assert isinstance(stream, Stream)
