"""Several streams through one engine: order, loss, fairness, and a clean end."""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
from numbered_frames import frame_number, numbered
from pipeline_parts import (
    LONG_S,
    PatientLocalizer,
    Recorder,
    a_camera,
    a_file,
    frames,
    run_to_end,
)
from pipeline_time import time_by_results
from scripted_source import PATIENCE_S, until
from stub_localizer import StubLocalizer

from bas_edge.errors import InputError
from bas_edge.video import EventRule, FrameResult, Pipeline, Reconnect, open_source

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_stream_that_waits_loses_nothing_and_keeps_its_order(workers: int, batch: int) -> None:
    localizer = StubLocalizer(jitter_s=0.003)
    recorder = Recorder()
    pipeline = Pipeline(localizer, workers=workers, max_batch=batch)
    pipeline.add(a_file(80), sinks=[recorder])
    stats = run_to_end(pipeline)
    assert recorder.of("file") == list(range(80))
    assert [one.localization.label for one in recorder.results] == [n % 251 for n in range(80)]
    assert all(one.frame.dropped == 0 and one.frame.gap_s == 0 for one in recorder.results)
    assert (stats.results, stats.lanes[0].sink_dropped, recorder.complete) == (80, 0, True)
    assert [event.state for event in recorder.events][-1] == "ended"


def test_a_slow_sink_holds_back_a_stream_that_waits_and_loses_nothing() -> None:
    slow, quick = Recorder(delay_s=0.002), Recorder()
    pipeline = Pipeline(StubLocalizer(), workers=2)
    pipeline.add(a_file(60), sinks=[slow, quick])
    run_to_end(pipeline)
    assert slow.of("file") == quick.of("file") == list(range(60))


def test_a_slow_sink_of_a_camera_misses_results_which_are_counted() -> None:
    go_on = threading.Event()

    class Slow(Recorder):
        def write(self, result: FrameResult) -> None:
            super().write(result)
            go_on.wait(LONG_S)

    slow, quick = Slow(), Recorder()
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(a_camera(), sinks=[slow, quick])
    pipeline.start()
    until(lambda: len(quick.results) > 60)
    go_on.set()
    pipeline.close()
    (lane,) = pipeline.stats().lanes
    assert lane.results == len(quick.results)
    assert lane.sink_dropped == lane.results - len(slow.results) > 0


def test_frames_that_were_dropped_are_in_the_numbers() -> None:
    recorder = Recorder()
    pipeline = Pipeline(StubLocalizer(delay_s=0.02))
    pipeline.add(a_camera(period_s=0.001), sinks=[recorder])
    pipeline.start()
    until(lambda: sum(one.frame.dropped for one in recorder.results) > 10)
    pipeline.close()
    indices = recorder.of("camera")
    dropped = [one.frame.dropped for one in recorder.results]
    assert dropped == [after - before - 1 for before, after in pairwise([-1, *indices])]
    stats = pipeline.stats().lanes[0].stream
    assert stats.decoded == stats.delivered + stats.dropped + stats.waiting


def test_streams_share_the_engine_evenly() -> None:
    recorder, localizer = Recorder(), PatientLocalizer()
    pipeline = Pipeline(localizer, workers=2, max_batch=1)
    localizer.lanes = lambda: pipeline.stats().lanes
    for number in range(6):
        pipeline.add(a_camera(f"camera{number}", period_s=0.001), sinks=[recorder])
    pipeline.start()
    until(lambda: len(recorder.results) >= 300)
    pipeline.close()
    counts = Counter(one.stream for one in recorder.results)
    assert max(counts.values()) - min(counts.values()) <= 0.1 * max(counts.values())


def test_a_file_among_cameras_takes_no_more_than_its_turn() -> None:
    recorder, localizer = Recorder(), PatientLocalizer()
    pipeline = Pipeline(localizer, max_batch=1)
    localizer.lanes = lambda: pipeline.stats().lanes
    pipeline.add(open_source(frames(10_000), name="file", policy="wait"), sinks=[recorder])
    pipeline.add(a_camera(period_s=0.001), sinks=[recorder])
    pipeline.start()
    until(lambda: len(recorder.results) >= 200)
    pipeline.close()
    counts = Counter(one.stream for one in recorder.results)
    assert abs(counts["file"] - counts["camera"]) <= 20


def test_a_silent_stream_holds_up_nobody() -> None:
    silence = threading.Event()

    def silent() -> Iterator[np.ndarray]:
        yield from frames(1)
        silence.wait(LONG_S)

    recorder = Recorder()
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(open_source(silent(), name="silent", policy="newest"), sinks=[recorder])
    pipeline.add(a_file(200), sinks=[recorder])
    pipeline.start()
    until(lambda: len(recorder.of("file")) == 200)
    assert recorder.of("silent") == [0]
    silence.set()
    pipeline.close()


def test_stopping_finishes_what_is_in_flight_and_closes_the_sinks() -> None:
    class Stopping(Recorder):
        def write(self, result: FrameResult) -> None:
            super().write(result)
            if len(self.results) == 10:
                pipeline.stop()

    recorder = Stopping()
    pipeline = Pipeline(StubLocalizer(delay_s=0.005), workers=2)
    pipeline.add(a_file(10_000), sinks=[recorder])
    stats = run_to_end(pipeline)
    assert 0 < stats.results < 10_000
    assert recorder.of("file") == list(range(stats.results))
    assert recorder.complete is False  # a file that was cut short


def test_a_camera_that_is_stopped_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    time_by_results(monkeypatch, 1)
    recorder = Recorder()
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(a_camera(), sinks=[recorder])
    stats = pipeline.run(duration_s=0.1)
    assert stats.results == len(recorder.results) > 0
    assert recorder.events[-1].state == "ended"


def test_pausing_one_stream_leaves_the_others_running() -> None:
    recorder = Recorder()
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(a_camera("one"), sinks=[recorder])
    pipeline.add(a_camera("two"), sinks=[recorder])
    pipeline.start()
    until(lambda: len(recorder.of("one")) > 3)
    pipeline.pause("one")
    assert pipeline.stats().lanes[0].paused
    later = len(recorder.of("two")) + 20  # more than may be on their way before it in the sink
    until(lambda: len(recorder.of("two")) >= later)
    at = len(recorder.of("one"))
    more = len(recorder.of("two")) + 20
    until(lambda: len(recorder.of("two")) > more)
    assert len(recorder.of("one")) == at
    pipeline.resume("one")
    until(lambda: len(recorder.of("one")) > at + 3)
    pipeline.close()


def test_streams_may_be_added_while_it_runs() -> None:
    recorder = Recorder()
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(a_camera(), sinks=[recorder])
    pipeline.start()
    until(lambda: len(recorder.results) > 3)
    pipeline.add(a_file(20, name="later"), sinks=[recorder])
    until(lambda: len(recorder.of("later")) == 20)
    pipeline.close()
    with pytest.raises(InputError, match="has ended"):
        pipeline.add(a_file(1, name="too late"))


def test_a_smoother_sees_frames_in_order_and_its_result_is_handed_on() -> None:
    class Smoother:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def steady(self, frame: object, _: object) -> tuple[object, None]:
            self.seen.append(frame.index)
            return StubLocalizer.result(7), None

    smoother, recorder = Smoother(), Recorder()
    pipeline = Pipeline(StubLocalizer(jitter_s=0.003), workers=3)
    pipeline.add(a_file(40), sinks=[recorder], smooth=smoother)
    run_to_end(pipeline)
    assert smoother.seen == list(range(40))
    assert {one.localization.label for one in recorder.results} == {7}
    assert [one.seen.label for one in recorder.results] == list(range(40))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers is 0, but must be 1 to 64"),
        ({"max_batch": 0}, "max_batch is 0, but must be 1 or more"),
    ],
)
def test_options_out_of_range(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Pipeline(StubLocalizer(), **options)


def test_a_sink_with_a_rule_for_an_unknown_class_is_refused() -> None:
    sink = Recorder()
    sink.rules = (EventRule("seen", classes=("class 7", "clas 7")),)
    with Pipeline(StubLocalizer()) as pipeline:
        with pytest.raises(InputError, match="'seen' is for the class 'clas 7'") as caught:
            pipeline.add(a_file(1), sinks=(one for one in [sink]))
        assert caught.value.hint == "Did you mean 'class 7'?"
        assert not pipeline.stats().lanes


def test_names_are_unique_and_known() -> None:
    with Pipeline(StubLocalizer()) as pipeline:
        pipeline.add(a_file(1))
        with pytest.raises(InputError, match="There is a stream 'file' already"):
            pipeline.add(a_file(1))
        with pytest.raises(InputError, match="There is no stream 'dor'"):
            pipeline.pause("dor")


def test_an_rtsp_camera_that_is_killed_leaves_a_gap_and_no_fake(rtsp: ModuleType) -> None:
    recorder = Recorder()
    with rtsp.RtspServer(numbered(50)) as server:
        pipeline = Pipeline(StubLocalizer())
        soon = Reconnect(first_s=0.01, longest_s=0.1)
        stream = open_source(server.url, name="door", reconnect=soon)
        pipeline.add(stream, sinks=[recorder])
        pipeline.start()
        until(lambda: len(recorder.results) >= 5)
        server.kill()
        until(lambda: stream.state == "reconnecting")
        before = len(recorder.results)
        server.restart()
        until(lambda: len(recorder.results) >= before + 5)
        pipeline.close()
    gaps = [one.frame.gap_s for one in recorder.results if one.frame.gap_s]
    assert len(gaps) == 1
    assert "gap_s" in next(one for one in recorder.results if one.frame.gap_s).to_dict()
    states = [event.state for event in recorder.events]
    assert states.index("reconnecting") > states.index("running")
    assert all(frame_number(one.frame.pixels) is not None for one in recorder.results)
    times = [one.time_s for one in recorder.results]
    assert times == sorted(set(times))


def test_tuning_takes_effect_on_a_running_pipeline() -> None:
    recorder = Recorder()
    pipeline = Pipeline(StubLocalizer(), workers=2)
    pipeline.add(a_camera(), sinks=[recorder])
    pipeline.start()
    until(lambda: len(recorder.results) > 3)
    pipeline.retune(threshold=0.25)
    assert pipeline.localizer.threshold == 0.25
    until(lambda: recorder.results[-1].localization.score == 0.25)
    pipeline.retune(threshold=0.75)
    until(lambda: recorder.results[-1].localization.score == 0.75)
    pipeline.close()
    assert {one.localization.score for one in recorder.results} == {0.5, 0.25, 0.75}


class Counted(StubLocalizer):
    """Counts its clones that are open; a tuned one waits until it may be made."""

    clones = 0
    may_tune = threading.Event()

    def clone(self, **options: float | None) -> StubLocalizer:
        tuned = options.get("threshold") is not None
        twin = super().clone(**options) if tuned else copy.copy(self)
        assert not tuned or self.may_tune.wait(PATIENCE_S)
        Counted.clones += 1
        return twin

    def close(self) -> None:
        Counted.clones -= 1

    def __exit__(self, *_: object) -> None:
        self.close()


def test_a_clone_that_takes_long_holds_up_no_stream() -> None:
    recorder = Recorder()
    pipeline = Pipeline(Counted(), workers=2)
    pipeline.add(a_camera(), sinks=[recorder])
    pipeline.start()
    tuning = threading.Thread(target=pipeline.retune, kwargs={"threshold": 0.25})
    tuning.start()
    more = len(recorder.results) + 50
    until(lambda: len(recorder.results) > more, "a clone in the making holds up the streams")
    assert pipeline.localizer.threshold == 0.5
    Counted.may_tune.set()
    until(lambda: recorder.results[-1].localization.score == 0.25)
    tuning.join()
    pipeline.close()
    with pytest.raises(InputError, match="has ended"):
        pipeline.retune(threshold=0.75)
    assert Counted.clones == 0


def test_workers_wait_for_the_first_stream() -> None:
    recorder = Recorder()
    pipeline = Pipeline(StubLocalizer())
    pipeline.start()
    pipeline.add(a_file(5), sinks=[recorder])
    until(lambda: len(recorder.results) == 5)
    pipeline.close()
