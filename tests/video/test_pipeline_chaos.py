"""Pipelines drawn at random and meddled with: nothing hangs, is lost or comes out of order."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest
from pipeline_parts import FailsAt, Recorder
from scripted_source import PATIENCE_S, Scripted, stream_of
from stub_localizer import StubLocalizer

from bas_edge.errors import InputError, StreamConnectionError
from bas_edge.video import FrameResult, Pipeline, Reconnect, Stream

pytestmark = pytest.mark.usefixtures("nothing_is_left")

SOON = Reconnect(first_s=0, longest_s=0, attempts=2, calm_s=1000)


@dataclass
class Case:
    """A stream, and what is to become of it."""

    stream: Stream
    recorder: Recorder
    fails_at: int | None  # its smoother
    usable: list[int] | None  # the indices that come where nothing may be lost


def a_case(draw: random.Random, number: int) -> Case:
    live = draw.random() < 0.5
    kinds = ["frame"] * 6 + ["unusable", "damage", "sound", "pause"]
    counted = [kind for kind in kinds if kind in ("frame", "unusable", "damage")]
    scripts: list[Any] = []
    pictures: list[str] = []
    for _ in range(draw.randint(1, 3) if live else 1):
        steps = [draw.choice(kinds) for _ in range(draw.randint(0, 40))]
        pictures += [kind for kind in steps if kind in counted]
        scripts.append(Scripted(*map(a_step, range(len(steps)), steps)))
        if live and draw.random() < 0.3:
            scripts.append(StreamConnectionError("nobody answers"))
    options = {
        "policy": draw.choice(["newest", "oldest", "wait", "wait"]),
        "depth": draw.choice([None, 1, 2]),
        "stride": draw.choice([1, 1, 3]),
        "stall_s": 0.003,
    }
    stream, _ = stream_of(*scripts, live=live, reconnect=SOON, **options)
    stream.name = f"stream {number}"
    whole = not live and options["policy"] == "wait" and options["stride"] == 1
    usable = [at for at, kind in enumerate(pictures) if kind == "frame"]
    fails_at = draw.randrange(20) if draw.random() < 0.2 else None
    return Case(stream, Recorder(), fails_at, usable if whole else None)


def a_step(number: int, kind: str) -> Any:
    if kind == "pause":
        return lambda: time.sleep(0.001)
    return number if kind == "frame" else kind


def meddle(pipeline: Pipeline, names: list[str], seed: int, over: threading.Event) -> None:
    draw = random.Random(seed)
    while not over.wait(draw.random() * 0.004):
        what = draw.choice(["pause", "resume", "resume", "retune", "stats"])
        if what == "retune":
            with contextlib.suppress(InputError):  # it has ended
                pipeline.retune(threshold=draw.random())
        elif what == "stats":
            pipeline.stats()
        else:
            getattr(pipeline, what)(draw.choice(names))
    for name in names:
        pipeline.resume(name)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens(seed: int) -> None:
    draw = random.Random(seed)
    pipeline = Pipeline(
        StubLocalizer(jitter_s=0.001), workers=draw.randint(1, 3), max_batch=draw.choice([1, 4])
    )
    cases = [a_case(draw, number) for number in range(draw.randint(1, 5))]
    failing = Recorder(fail_at=draw.randrange(20))
    for case in cases:
        sinks = [case.recorder, failing] if draw.random() < 0.5 else [case.recorder]
        smooth = None if case.fails_at is None else FailsAt(case.fails_at)
        pipeline.add(case.stream, sinks=sinks, smooth=smooth)
    names = [case.stream.name for case in cases]
    stopped_after_s = draw.random() * 0.05 if draw.random() < 0.25 else None

    over = threading.Event()
    meddler = threading.Thread(target=meddle, args=(pipeline, names, seed, over))
    runner = threading.Thread(target=pipeline.run, daemon=True)
    runner.start()
    meddler.start()
    over.wait(0.04 if stopped_after_s is None else stopped_after_s)
    if stopped_after_s is not None:
        pipeline.stop()
    over.set()
    meddler.join()
    runner.join(PATIENCE_S)
    assert not runner.is_alive(), [str(case.stream) for case in cases]
    for case, lane in zip(cases, pipeline.stats().lanes, strict=True):
        check(case, lane, stopped=stopped_after_s is not None)


def check(case: Case, lane: Any, *, stopped: bool) -> None:
    results, stats = case.recorder.results, lane.stream
    indices = [one.index for one in results]
    assert indices == sorted(set(indices))
    times = [one.time_s for one in results]
    assert times == sorted(set(times))
    assert [one.state for one in case.recorder.events].count("ended") == 1
    assert case.recorder.events[-1].state == "ended"
    assert case.recorder.complete is not None
    missed = lane.results - len(results)  # by a sink for which the stream does not wait
    assert 0 <= missed <= lane.sink_dropped
    if missed == 0:
        assert [one.frame.dropped for one in results] == gaps(results)
    if missed == 0 and case.fails_at is None and not stopped:
        last = results[-1].index if results else -1
        assert sum(1 + one.frame.dropped for one in results) == last + 1
    if case.fails_at is None:
        assert lane.results + stats.dropped + stats.damaged == stats.decoded
    if case.usable is not None and not stopped:
        expected = case.usable
        if case.fails_at is not None:
            expected = [index for index in expected if index < case.fails_at]
        assert indices == expected
        failed = case.stream.error is not None
        assert case.recorder.complete is not failed


def gaps(results: list[FrameResult]) -> list[int]:
    earlier = [-1, *(one.index for one in results)]
    return [one.index - before - 1 for before, one in zip(earlier, results, strict=False)]
