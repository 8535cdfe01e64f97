"""A pipeline of which one part fails: the part ends, says why, and takes nothing else along."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pipeline_parts import FailsAt, Recorder, a_camera, a_file, frames, run_to_end
from scripted_source import Scripted, stream_of
from stub_localizer import StubLocalizer

from bas_edge.errors import BackendError, InputError, StreamError
from bas_edge.video import Pipeline, Smoothing, open_source

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def test_a_stream_that_fails_ends_alone_and_says_why() -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from frames(3)
        raise StreamError("the lens fell off")

    recorder = Recorder()
    pipeline = Pipeline(StubLocalizer())
    stream = open_source(broken(), name="broken", policy="wait")
    pipeline.add(stream, sinks=[recorder])
    pipeline.add(a_file(50), sinks=[recorder])
    run_to_end(pipeline)
    assert (recorder.of("broken"), recorder.of("file")) == ([0, 1, 2], list(range(50)))
    assert isinstance(stream.error, StreamError)
    (ended,) = [one for one in recorder.events if (one.stream, one.state) == ("broken", "ended")]
    assert ended.reason == "the lens fell off"


def test_a_sink_that_fails_ends_alone() -> None:
    failing, other = Recorder(fail_at=5), Recorder()
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(a_file(50), sinks=[failing, other])
    stats = run_to_end(pipeline)
    assert (len(failing.results), len(other.results)) == (5, 50)
    assert (failing.complete, other.complete) == (False, True)
    assert stats.failures == ("Recorder: No space left on device",)


def test_a_sink_that_fails_ends_everything_if_asked_to() -> None:
    failing, other = Recorder(fail_at=5), Recorder()
    pipeline = Pipeline(StubLocalizer(), stop_on_failure=True)
    pipeline.add(a_file(10_000), sinks=[failing, other])
    with pytest.raises(OSError, match="No space left"):
        run_to_end(pipeline)
    assert 5 <= len(other.results) < 10_000
    assert other.complete is False


@pytest.mark.parametrize("count", [6, 10_000])  # the source has been read to its end, or has not
def test_a_smoother_that_fails_ends_its_stream_alone(count: int) -> None:
    mine, other = Recorder(), Recorder()
    stream = a_file(count, "failing")
    pipeline = Pipeline(StubLocalizer(), workers=2)
    pipeline.add(stream, sinks=[mine], smooth=FailsAt(5))
    pipeline.add(a_file(300, "other"), sinks=[other])
    stats = run_to_end(pipeline)
    assert (mine.of("failing"), other.of("other")) == (list(range(5)), list(range(300)))
    assert (mine.complete, other.complete) == (False, True)
    assert stats.failures == ("FailsAt of 'failing': no map is smooth enough",)
    assert isinstance(stream.error, ValueError)
    assert [(one.state, one.reason) for one in mine.events][-1] == ("ended", str(stream.error))
    failed = stats.lanes[0].stream
    assert (failed.state, failed.reason) == ("ended", "no map is smooth enough")


def test_a_smoother_that_fails_ends_a_camera_that_stays_silent() -> None:
    recorder = Recorder()
    stream, _ = stream_of(Scripted(*range(6), "stay"), policy="wait")
    pipeline = Pipeline(StubLocalizer())
    pipeline.add(stream, sinks=[recorder], smooth=FailsAt(5))
    run_to_end(pipeline)
    assert recorder.of("camera") == list(range(5))
    assert (recorder.events[-1].state, recorder.complete) == ("ended", True)  # nothing to miss


def test_a_smoother_that_fails_ends_everything_if_asked_to() -> None:
    pipeline = Pipeline(StubLocalizer(), stop_on_failure=True)
    pipeline.add(a_file(10_000), smooth=FailsAt(5))
    with pytest.raises(ValueError, match="smooth enough"):
        run_to_end(pipeline)


def test_results_without_maps_are_not_smoothed() -> None:
    localizer = StubLocalizer()
    localizer.boxes_only = True
    with Pipeline(localizer) as pipeline:
        with pytest.raises(InputError, match="carry no map to be smoothed"):
            pipeline.add(a_file(1), sinks=[Recorder()], smooth=Smoothing())
        assert pipeline.stats().lanes == ()
        pipeline.add(a_file(1))
        with pytest.raises(InputError, match="carry no map to be smoothed"):
            pipeline.set_smoothing("file", Smoothing.named("strong"))
        assert pipeline.smoothing("file") is None


def test_an_engine_that_fails_ends_everything_with_its_error() -> None:
    recorder = Recorder()
    pipeline = Pipeline(StubLocalizer(fail_at=7), workers=2)
    pipeline.add(a_file(10_000), sinks=[recorder])
    pipeline.add(a_camera(), sinks=[recorder])
    with pytest.raises(BackendError, match="the network caught fire"):
        run_to_end(pipeline)
    assert recorder.complete is False
