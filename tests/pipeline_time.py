"""Time that passes with results, so that what runs for a while neither waits nor comes too late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

import pytest

from bas_edge.video import Pipeline, pipeline
from bas_edge.video.pipeline_stats import LaneStats

Of = Callable[[Iterable[bool]], bool]

PATIENCE_S = 60.0  # no test needs it; one that hangs ends here


class Enough:
    """Whether the newest pipeline has had its time: every stream gave something.

    That is, so many results, or none because it has ended or cannot be reached.
    """

    perf_counter = staticmethod(time.perf_counter)

    def __init__(self, results: int, of: Of) -> None:
        self._results, self._of = results, of
        self._pipelines: list[Pipeline] = []
        self._began = time.monotonic()
        self._now = 0.0

    def note(self, made: Pipeline) -> None:
        self._pipelines.append(made)

    def lanes(self) -> Sequence[LaneStats]:
        """The streams of the newest pipeline."""
        return self._pipelines[-1].stats().lanes if self._pipelines else ()

    def __call__(self) -> bool:
        lanes = self.lanes()
        return bool(lanes) and self._of(
            lane.results >= self._results
            or lane.stream.state == "ended"
            or lane.stream.failures > 0
            for lane in lanes
        )

    def monotonic(self) -> float:
        """A clock that stands still until there is enough, and then leaps with each look."""
        assert time.monotonic() - self._began < PATIENCE_S, "the streams did not give enough"
        if self():
            self._now += 1e6
        return self._now


def time_by_results(monkeypatch: pytest.MonkeyPatch, results: int, *, of: Of = all) -> Enough:
    """From now on `duration_s`, and every timer, is over when each stream gave so many results.

    Not before, however busy the machine is. `of=any`: when one of the streams did.
    """
    enough = Enough(results, of)

    def init(self: Pipeline, *args: object, **options: object) -> None:
        former_init(self, *args, **options)
        enough.note(self)

    class Timer(threading.Timer):
        def run(self) -> None:
            while not self.finished.wait(0.002):
                if enough():
                    self.function()
                    return

    former_init: Callable[..., None] = Pipeline.__init__
    monkeypatch.setattr(Pipeline, "__init__", init)
    monkeypatch.setattr(pipeline, "time", enough)
    monkeypatch.setattr(threading, "Timer", Timer)
    return enough
