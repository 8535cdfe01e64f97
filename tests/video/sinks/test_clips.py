"""Clips: they begin before the event, end after it, and nothing else is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from full_disk import full_disk
from stream_results import descriptors, ended, grey, result

from bas_edge.errors import BasEdgeError, InputError
from bas_edge.video import Clips, EventRule, RuleEvent, StreamEvent, VideoSource
from bas_edge.video.sinks.encoders import available_encoders
from bas_edge.video.sinks.packet_ring import PacketFile, PacketRing

RULE = EventRule("sill", classes=("wren",), min_score=0.5, cooldown_s=0)
FPS = 10


def level_of(index: int) -> int:
    """How bright a frame is; its neighbours are 12 away."""
    return 30 + 12 * (index % 16)


def run(
    sink: Clips, seconds: float, seen: set[int], *, stream: str = "door", since: int = 0
) -> None:
    """Frames that can be told apart; the object is there in the seconds of `seen`."""
    for index in range(since, since + round(seconds * FPS)):
        at = index / FPS
        pixels = grey(level=level_of(index))
        sink.write(result(index, at, stream=stream, pixels=pixels, found=int(at) in seen))


def about(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".kept")


@pytest.mark.parametrize("codec", available_encoders())
def test_a_clip_begins_before_its_event(tmp_path: Path, codec: str) -> None:
    told: list[RuleEvent] = []
    sink = Clips(
        tmp_path / "{stream}-{rule}-{time}.mp4",
        [RULE],
        before_s=2,
        after_s=1,
        fps=FPS,
        codec=codec,
        draw=False,
        on_event=told.append,
    )
    run(sink, 12, {7})
    path = tmp_path / "door-sill-040513.mp4"
    assert names(tmp_path) == ["door-sill-040513.json", path.name]  # finished while it goes on
    sink.close(complete=True)
    described = about(path)
    frames = list(VideoSource(path))
    start = described["start_time_s"]
    assert 4 <= start <= 5  # an intra frame, at most a second before
    assert frames[-1].time_s + start == pytest.approx(8)
    assert len(frames) == described["frames"] == round((8 - start) * FPS) + 1
    assert [frame.time_s for frame in frames] == pytest.approx(
        [at / FPS for at in range(len(frames))]
    )
    for frame in frames:  # each picture at its own time
        expected = level_of(round((start + frame.time_s) * FPS))
        assert abs(float(frame.pixels.mean()) - expected) < 6
    assert described["complete"] is True
    assert described["encoder"] == codec
    assert described["started_at"] == f"2026-11-22T04:05:{6.789 + start:06.3f}Z"
    (event,) = described["events"]
    assert event["at_s"] == pytest.approx(7 - start)
    assert event["clip"] == str(path)
    assert told == list(sink.events)
    assert [(one.rule, one.time_s, one.clip) for one in told] == [("sill", 7.0, path)]


def test_an_event_during_a_clip_makes_it_longer(tmp_path: Path) -> None:
    sink = Clips(tmp_path / "{time}.mp4", [RULE], before_s=1, after_s=2, fps=FPS, longest_s=6)
    run(sink, 20, {3, 5, 7, 9})
    sink.close(complete=True)
    clips = sorted(tmp_path.glob("*.mp4"))
    described = [about(path) for path in clips]
    assert [[event["time_s"] for event in each["events"]] for each in described] == [
        [3.0, 5.0, 7.0],
        [9.0],
    ]
    assert all(each["seconds"] <= 6 for each in described)
    for path, each in zip(clips, described, strict=True):
        assert len(list(VideoSource(path))) == each["frames"]


def test_rules_and_streams_have_clips_of_their_own(tmp_path: Path) -> None:
    rules = [RULE, EventRule("late", dwell_s=0.5)]
    sink = Clips(tmp_path / "{stream}-{rule}-{time}.mp4", rules, before_s=1, after_s=1, fps=FPS)
    assert sink.rules == tuple(rules)
    for stream in ("door", "../yard"):
        run(sink, 5, {2}, stream=stream)
    sink.close(complete=True)
    videos = [path.name for path in tmp_path.glob("*.mp4")]
    assert len(videos) == 4
    assert sum(name.startswith("_yard~") for name in videos) == 2


def test_a_clip_plays_after_a_power_cut(tmp_path: Path) -> None:
    sink = Clips(tmp_path / "{time}.mp4", [RULE], before_s=2, after_s=30, fps=FPS)
    run(sink, 14, {5})
    (tmp_path / "left").mkdir()
    shutil.copy(tmp_path / "040511.partial.mp4", tmp_path / "left" / "a.mp4")
    assert about(tmp_path / "040511.mp4")["complete"] is False
    sink.close(complete=False)
    left = len(list(VideoSource(tmp_path / "left" / "a.mp4")))
    assert 70 <= left < len(list(VideoSource(tmp_path / "040511.mp4")))


@pytest.mark.parametrize("state", ["ended", "reconnecting"])
def test_a_stream_that_stops_finishes_its_clip(tmp_path: Path, state: str) -> None:
    before = descriptors()
    sink = Clips(tmp_path / "{time}.mp4", [RULE], before_s=2, after_s=30, fps=FPS)
    run(sink, 6, {5})
    sink.event(ended() if state == "ended" else StreamEvent("door", "reconnecting", 0.0))
    assert names(tmp_path) == ["040511.json", "040511.mp4"]
    described = about(tmp_path / "040511.mp4")
    assert described["complete"] is False
    assert len(list(VideoSource(tmp_path / "040511.mp4"))) == described["frames"] >= 30
    run(sink, 6, {7, 8}, since=60)  # it comes back
    sink.close(complete=False)
    assert len(list(tmp_path.glob("*.mp4"))) == 2
    assert descriptors() == before


@pytest.mark.parametrize("gap_s", [8.0, 3600.0, 11 * 3600.0])
@pytest.mark.parametrize("how", ["reconnecting", "gap_s", "a hole"])
def test_a_clip_reaches_back_over_no_gap(tmp_path: Path, gap_s: float, how: str) -> None:
    """The stream was there, then nothing, and two seconds after it came back, an event."""
    sink = Clips(
        tmp_path / "{time}.mp4", [RULE], before_s=5, after_s=5, fps=FPS, longest_s=15, draw=False
    )
    run(sink, 6, {5})
    if how == "reconnecting":
        sink.event(StreamEvent("door", "reconnecting", 0.0))
        assert about(tmp_path / "040511.mp4")["complete"] is False
    back_s = 6 + gap_s
    for index in range(100):
        at = back_s + index / FPS
        gap = gap_s if how == "gap_s" and index == 0 else 0.0
        sink.write(
            result(60 + index, at, pixels=grey(level=level_of(index)), found=index == 20, gap_s=gap)
        )
    sink.close(complete=True)
    first, second = sorted(tmp_path.glob("*.mp4"), key=lambda path: about(path)["start_time_s"])
    assert about(first)["seconds"] == pytest.approx(5.9)
    described = about(second)
    assert described["complete"] is True
    assert described["start_time_s"] == pytest.approx(back_s)
    assert described["seconds"] == pytest.approx(7)
    assert described["events"][0]["at_s"] == pytest.approx(2)
    frames = list(VideoSource(second))
    assert len(frames) == described["frames"] == 71
    for index, frame in enumerate(frames):
        assert abs(float(frame.pixels.mean()) - level_of(index)) < 6


def test_two_sinks_of_one_name_work_together(tmp_path: Path) -> None:
    """As one [[sink]] of all cameras and one of a camera, with the same template and limit."""
    rules = (EventRule("any", cooldown_s=0), EventRule("late", cooldown_s=0))
    first, second = (
        Clips(tmp_path / "{time}.mp4", [rule], before_s=1, after_s=2, fps=FPS, max_files=4)
        for rule in rules
    )
    for index in range(120):
        seen = result(index, index / FPS, found=index % 40 in (10, 11))
        first.write(seen)
        if index >= 30:  # its first event comes while the other one's clip is open
            second.write(seen)
    first.close(complete=True)
    second.close(complete=True)
    videos = sorted(tmp_path.glob("*.mp4"))
    events = sorted(
        (event["time_s"], event["rule"]) for v in videos for event in about(v)["events"]
    )
    assert events == [(5.0, "any"), (5.0, "late"), (9.0, "any"), (9.0, "late")]
    assert all(len(list(VideoSource(path))) == about(path)["frames"] for path in videos)
    assert not list(tmp_path.glob("*partial*"))


def test_a_full_disk_costs_a_clip_but_no_event(tmp_path: Path) -> None:
    before = descriptors()
    told: list[RuleEvent] = []
    sink = Clips(
        tmp_path / "{time}.mp4", [RULE], before_s=1, after_s=1, fps=FPS, on_event=told.append
    )
    run(sink, 4, {2})
    with full_disk(100):
        run(sink, 4, {6}, since=40)
        assert "too large" in sink.problem
    run(sink, 6, {10}, since=80)
    assert sink.problem == ""
    with pytest.raises(BasEdgeError, match="lost, the last because"):
        sink.close(complete=True)
    assert [event.time_s for event in told] == [2.0, 6.0, 10.0]
    assert [event.clip for event in told[::2]] == [tmp_path / "040508.mp4", tmp_path / "040516.mp4"]
    videos = sorted(tmp_path.glob("*.mp4"))
    assert videos == [tmp_path / "040508.mp4", tmp_path / "040516.mp4"]
    assert names(tmp_path) == sorted(
        path.name for video in videos for path in (video, video.with_suffix(".json"))
    )
    assert all(len(list(VideoSource(path))) == about(path)["frames"] for path in videos)
    assert about(videos[1])["complete"] is True
    assert descriptors() == before


def test_a_full_disk_while_a_clip_gets_longer(tmp_path: Path) -> None:
    sink = Clips(tmp_path / "{time}.mp4", [RULE], before_s=1, after_s=4, fps=FPS)
    run(sink, 6, {3})
    with full_disk(100):
        run(sink, 0.5, {6}, since=60)
    run(sink, 6, set(), since=65)
    assert about(tmp_path / "040509.mp4")["complete"] is False
    assert len(list(VideoSource(tmp_path / "040509.mp4"))) >= 20
    assert [event.clip for event in sink.events] == [tmp_path / "040509.mp4", None]
    with pytest.raises(BasEdgeError, match="1 clip lost, the last because"):
        sink.close(complete=True)


def test_a_full_disk_leaves_what_plays_of_a_clip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sink = Clips(tmp_path / "{time}.mp4", [RULE], before_s=0, after_s=50, fps=FPS, draw=False)

    def write(index: int) -> None:
        pixels = rng.integers(0, 255, (48, 64, 3), np.uint8)
        sink.write(result(index, index / FPS, pixels=pixels, found=index == 10))

    for index in range(100):
        write(index)
    with full_disk((tmp_path / "040507.partial.mp4").stat().st_size + 10_000):
        while not sink.problem:
            index += 1
            write(index)
    assert names(tmp_path) == ["040507.json", "040507.mp4"]
    assert about(tmp_path / "040507.mp4")["complete"] is False
    assert len(list(VideoSource(tmp_path / "040507.mp4"))) >= 60
    with pytest.raises(BasEdgeError, match="1 clip lost, the last because"):
        sink.close(complete=True)


def test_another_size_ends_the_clip(tmp_path: Path) -> None:
    sink = Clips(tmp_path / "{time}.mp4", [RULE], before_s=1, after_s=30, fps=FPS)
    run(sink, 3, {2})
    for index in range(30, 50):
        sink.write(result(index, index / FPS, pixels=grey((96, 128)), found=index > 40))
    sink.close(complete=True)
    assert [VideoSource(path).size for path in sorted(tmp_path.glob("*.mp4"))] == [
        (48, 64),
        (96, 128),
    ]


def test_only_so_many_clips_are_kept(tmp_path: Path) -> None:
    sink = Clips(tmp_path / "{time}.mp4", [RULE], before_s=0, after_s=0.5, fps=FPS, max_files=2)
    run(sink, 12, {1, 3, 5, 7, 9})
    sink.close(complete=True)
    assert names(tmp_path) == ["040513.json", "040513.mp4", "040515.json", "040515.mp4"]


def test_the_ring_holds_seconds_not_hours() -> None:
    rng = np.random.default_rng(0)
    ring = PacketRing((48, 64), 10, before_s=3, codec="auto", max_bytes=1 << 20)
    sizes = []
    for index in range(300):
        ring.encode(rng.integers(0, 255, (48, 64, 3), np.uint8), index / 10)
        kept = ring.since(-1.0)
        assert kept[0].keyframe
        sizes.append(len(kept))
        assert ring.kept_bytes == sum(len(one.data) for one in kept)
    assert max(sizes[50:]) <= 41  # 3 s and up to a second before the next intra frame
    assert min(sizes[50:]) >= 30
    ring.finish()


def test_the_ring_never_holds_more_bytes_than_allowed() -> None:
    rng = np.random.default_rng(0)
    ring = PacketRing((48, 64), 10, before_s=3600, codec="auto", max_bytes=100_000)
    for index in range(300):
        ring.encode(rng.integers(0, 255, (48, 64, 3), np.uint8), index / 10)
        assert ring.kept_bytes <= 100_000
    assert ring.kept_bytes > 50_000
    ring.finish()


def test_a_group_that_is_too_large_leaves_no_picture_that_needs_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ring = PacketRing((96, 128), 10, before_s=5, codec="auto", max_bytes=40_000)
    lengths = []
    for index in range(60):
        pixels = rng.integers(0, 255, (96, 128, 3), np.uint8)
        ring.encode(pixels, index / 10)
        kept = ring.since(-1.0)
        lengths.append(len(kept))
        assert not kept or kept[0].keyframe
    assert 0 in lengths  # a group was over the limit
    assert max(lengths) > 0
    ring.finish()


def test_a_clip_whose_buffer_is_too_small_begins_with_the_next_intra_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sink = Clips(
        tmp_path / "{time}.mp4", [RULE], before_s=0, after_s=3, fps=FPS, buffer_bytes=1, draw=False
    )
    for index in range(60):
        pixels = rng.integers(0, 255, (48, 64, 3), np.uint8)
        sink.write(result(index, index / FPS, pixels=pixels, found=index == 14))
    sink.close(complete=True)
    (path,) = tmp_path.glob("*.mp4")
    described = about(path)
    assert described["start_time_s"] == pytest.approx(2.0)
    assert described["events"][0]["at_s"] == pytest.approx(-0.6)
    assert len(list(VideoSource(path))) == described["frames"] == 25


def test_writing_on_after_the_end_is_an_error(tmp_path: Path) -> None:
    ring = PacketRing((48, 64), 10, before_s=1, codec="auto", max_bytes=1 << 20)
    file = PacketFile(ring, tmp_path / "a.mp4")
    pictures = ring.encode(grey(), 0.0) + ring.finish()
    file.write(pictures)
    file.finish()
    with pytest.raises(BasEdgeError, match=r"a.partial.mp4: it is closed"):
        file.write(pictures)


@pytest.mark.parametrize(
    ("path", "rules", "options", "message"),
    [
        ("{stream}.mp4", [RULE], {}, "lacks the field 'time'"),
        ("{time}.avi", [RULE], {}, "cannot be made of the rules"),
        ("{time}.mp4", [], {}, r"cannot be made of the rules \[\]"),
        ("{time}.mp4", [RULE, RULE], {}, r"of the rules \['sill', 'sill'\]"),
        ("{time}.mp4", [RULE], {"before_s": -1}, "before_s is -1"),
        ("{time}.mp4", [RULE], {"before_s": float("nan")}, "before_s is nan"),
        ("{time}.mp4", [RULE], {"longest_s": float("inf")}, "longest_s is inf"),
        ("{time}.mp4", [RULE], {"fps": 0}, "fps is 0"),
        ("{time}.mp4", [RULE], {"fps": float("nan")}, "fps is nan"),
        ("{time}.mp4", [RULE], {"fps": 1e12}, "fps is 1000000000000.0"),
        ("{time}.mp4", [RULE], {"buffer_bytes": 0}, "buffer_bytes is 0"),
        ("{time}.mp4", [RULE], {"after_s": 100}, "to 100 s after"),
        ("{time}.mp4", [RULE], {"codec": "nothing"}, "no encoder 'nothing'"),
        ("{time}.mp4", [RULE], {"max_files": 0}, "max_files is 0"),
    ],
)
def test_arguments_that_cannot_be(
    tmp_path: Path, path: str, rules: list[EventRule], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Clips(tmp_path / path, rules, **options)
