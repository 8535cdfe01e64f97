"""Frames that cannot be converted to pixels: counted as dropped, told once, and never for ever."""

from __future__ import annotations

import itertools
import threading

import pytest
from pipeline_parts import Recorder, run_to_end
from scripted_source import PATIENCE_S, Scripted, stream_of, until
from stub_localizer import StubLocalizer

from bas_edge.errors import StreamCodecError
from bas_edge.video import Pipeline
from bas_edge.video.sources.claimed_frame import HOPELESS

BAD = "unusable"
SOME_BAD = (BAD, 1, 2, BAD, "damage", BAD, 6, BAD)
LOGGER = "bas_edge.video.sources.claimed_frame"


def test_they_are_among_the_dropped_of_the_next_frame(caplog: pytest.LogCaptureFixture) -> None:
    stream, _ = stream_of(Scripted(*SOME_BAD), live=False)
    frames = [(frame.index, frame.dropped) for frame in stream]
    assert frames == [(1, 1), (2, 0), (6, 3)]
    stats = stream.stats()
    assert (stats.decoded, stats.damaged, stats.delivered, stats.dropped) == (8, 1, 3, 4)
    assert [one.name for one in caplog.records] == [LOGGER] * 3  # once for those in a row
    stream.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_so_they_are_in_a_pipeline(workers: int, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    stream, _ = stream_of(Scripted(*(SOME_BAD * 20)), live=False)
    pipeline = Pipeline(StubLocalizer(jitter_s=0.002), workers=workers)
    pipeline.add(stream, sinks=[recorder])
    (lane,) = run_to_end(pipeline).lanes
    indices = recorder.of("camera")
    assert indices == [8 * turn + one for turn in range(20) for one in (1, 2, 6)]
    dropped = [one.frame.dropped for one in recorder.results]
    assert dropped == [b - a - 1 for a, b in itertools.pairwise([-1, *indices])]
    assert (lane.results, lane.unusable, lane.stream.dropped) == (60, 80, 80)
    assert len(caplog.records) == 1 + 20 * 2  # the last of one turn and the first of the next


def test_a_file_of_nothing_else_ends_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    stream, _ = stream_of(Scripted(*([BAD] * 10 * HOPELESS)), live=False)
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(stream, sinks=[recorder])
    stats = run_to_end(pipeline)
    assert isinstance(stream.error, StreamCodecError)
    assert "25 frames in a row could not be converted" in recorder.events[-1].reason
    assert (recorder.complete, len(caplog.records)) == (False, 1)
    assert HOPELESS <= stats.lanes[0].unusable < 10 * HOPELESS


def test_whoever_iterates_a_file_of_nothing_else_is_told() -> None:
    stream, _ = stream_of(Scripted(*([BAD] * HOPELESS)), live=False)
    with pytest.raises(StreamCodecError, match="could not be converted"):
        list(stream)
    stream.close()
    assert stream.state == "ended"


def test_fewer_than_hopeless_are_forgiven() -> None:
    bad = [BAD] * (HOPELESS - 1)
    stream, _ = stream_of(Scripted(*bad, 1, *bad, 2), live=False)
    assert [frame.dropped for frame in stream] == [HOPELESS - 1] * 2
    assert stream.error is None
    stream.close()


def test_a_camera_connects_again_and_the_next_frame_tells_of_all() -> None:
    taken = threading.Event()
    first = Scripted(0, taken, *([BAD] * HOPELESS), "stay")
    stream, events = stream_of(first, Scripted(BAD, 7, "stay"))
    frame = next(iter(stream))
    assert frame.index == 0
    taken.set()
    frame = stream.take(PATIENCE_S)
    assert frame is not None
    assert (frame.index, frame.dropped) == (HOPELESS + 2, HOPELESS + 1)
    assert frame.gap_s > 0
    lost = next(one for one in events if one.state == "reconnecting")
    assert isinstance(lost.error, StreamCodecError)
    stream.close()
    until(lambda: stream.state == "ended")
