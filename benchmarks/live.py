"""How old are results of a live camera, and are its drops counted?

    python -m benchmarks.live --engine E.engine --video FILE --seconds 30

The file is played in real time, in a loop, and gives its newest frame: a camera. With one of them,
the 95th percentile of the age must be within 1.5 times one inference and one frame interval, also
of an engine that is slower than the camera. Then the same with several cameras, for information.
Each number of cameras runs in a process of its own. Exit code 1 where a target was missed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.video import (
    FrameResult,
    Pipeline,
    StreamEvent,
    VideoSource,
    open_for_pipeline,
    open_source,
)
from bas_edge.video.pipeline_stats import LaneStats
from bas_edge.video.sources.capture import Damaged
from bas_edge.video.sources.pictures import DecodedPicture

from .__main__ import provenance
from .child import run_child
from .rows import RESULTS, LiveRow, Provenance, append_row, missed_targets
from .stream_rows import LiveFigures
from .tables import row_line
from .timings import percentile, rounded

__all__ = ["Ages", "Camera", "bound_ms", "live_row_of", "main", "watch_cameras"]

STREAMS = (1, 2, 4)
SLACK = 1.5


class Camera(VideoSource):
    """A video that keeps its own count, which no stream knows of.

    Attributes:
        sent: Pictures that it gave out, also over several times that it was played.
        asked_for: Those of which somebody wanted the pixels, by their number from 0.
    """

    def __init__(self, video: Path) -> None:
        super().__init__(video)
        self.sent = 0
        self.asked_for: set[int] = set()

    def pictures(self) -> Iterator[Any]:
        for picture in super().pictures():
            number, self.sent = self.sent, self.sent + 1
            if isinstance(picture, Damaged):
                yield picture
            else:
                yield _Counted(picture, partial(self.asked_for.add, number))


class _Counted(NamedTuple):
    """A picture of a `Camera`."""

    picture: DecodedPicture
    note: Callable[[], None]

    @property
    def time_s(self) -> float | None:
        return self.picture.time_s

    @property
    def captured_at(self) -> float:
        return self.picture.captured_at

    def pixels(self) -> NDArray[np.uint8]:
        self.note()
        return self.picture.pixels()


class Ages:
    """A sink that notes of each result how old it was, and what the frame says of drops."""

    def __init__(self) -> None:
        self.age_ms: list[float] = []
        self.infer_ms: list[float] = []
        self.indices: set[int] = set()
        self.told = 0  # results, and the drops that they tell of

    def write(self, result: FrameResult) -> None:
        self.age_ms.append(result.age_ms)
        self.infer_ms.append(result.localization.timing.total_ms)
        self.indices.add(result.index)
        self.told += 1 + result.frame.dropped

    def event(self, event: StreamEvent) -> None:
        """Counted by the pipeline."""

    def close(self, *, complete: bool) -> None:
        """Nothing is held."""

    def accounts_for(self, camera: Camera, stats: LaneStats) -> bool:
        """Whether each picture that the camera sent is a result or told of as dropped.

        Results are the very pictures that were converted; with the drops that they tell of they
        are all up to the last result; and the stream's own count explains the others. One may be
        on its way when the stream is closed.
        """
        last = max(self.indices, default=-1)
        counted = stats.results + stats.stream.dropped + stats.stream.damaged
        return (
            self.indices == camera.asked_for
            and self.told == last + 1
            and camera.sent - counted in (0, 1)
        )


def watch_cameras(
    engine: Path, video: Path, streams: int, seconds: float, threads: int | None = None
) -> LiveFigures:
    """Run so many cameras in this process."""
    localizer, workers = open_for_pipeline(engine, streams=streams, lossless=False, threads=threads)
    height, width = VideoSource(video).size
    cameras = [Camera(video) for _ in range(streams)]
    ages = [Ages() for _ in range(streams)]
    with localizer, Pipeline(localizer, workers=workers) as pipeline:
        for _ in range(2):
            localizer.run(np.zeros((height, width, 3), np.uint8))
        for number, camera in enumerate(cameras):
            source = open_source(
                camera, name=f"camera {number}", policy="newest", realtime=True, loop=True
            )
            pipeline.add(source, sinks=[ages[number]])
        stats = pipeline.run(duration_s=seconds)
    decoded = sum(lane.stream.decoded for lane in stats.lanes)
    dropped = sum(lane.stream.dropped for lane in stats.lanes)
    return LiveFigures(
        streams=streams,
        decoded=decoded,
        results=stats.results,
        dropped=dropped,
        accounted=all(map(Ages.accounts_for, ages, cameras, stats.lanes)),
        age_ms=_percentiles([ms for each in ages for ms in each.age_ms]),
        infer_ms=_percentiles([ms for each in ages for ms in each.infer_ms]),
    )


def live_row_of(
    figures: Sequence[LiveFigures],
    given: Provenance,
    *,
    engine: Path,
    video: Path,
    seconds: float,
    threads: int,
) -> LiveRow:
    """The row of what was watched; its first figures are those of one camera."""
    fps = VideoSource(video).fps
    return LiveRow(
        provenance=given,
        engine=engine.name,
        video=video.name,
        fps=round(fps, 3),
        threads=threads,
        seconds=seconds,
        bound_ms=rounded(bound_ms(figures[0].infer_ms["p50"], fps)),
        figures=tuple(figures),
    )


def bound_ms(infer_ms: float, fps: float) -> float:
    """One inference and one frame interval, and half of that again."""
    return SLACK * (infer_ms + 1000 / fps)


def main(arguments: Sequence[str] | None = None) -> int:
    """Append one row; exit code 1 where a target was missed."""
    options = _parser().parse_args(arguments)
    engine, video, seconds = options.engine, options.video, options.seconds
    if options.alone is not None:
        figures = watch_cameras(engine, video, options.alone, seconds, options.threads)
        print(msgspec.json.encode(figures).decode())
        return 0
    threads = options.threads or len(os.sched_getaffinity(0))
    given = provenance(
        shlex.join(["python", "-m", "benchmarks.live", *(arguments or sys.argv[1:])])
    )
    words = ["--engine", engine.resolve(), "--video", video.resolve()]
    words += ["--seconds", seconds, "--threads", threads, "--alone"]
    watched = [run_child("live", [*words, n], LiveFigures, threads=threads) for n in STREAMS]
    row = live_row_of(watched, given, engine=engine, video=video, seconds=seconds, threads=threads)
    append_row(row, options.results)
    print(row_line(row))
    missed = missed_targets(row)
    for sentence in missed:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if missed else 0


def _percentiles(times_ms: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times_ms) or [0.0]
    return {name: rounded(percentile(ordered, q)) for name, q in (("p50", 0.5), ("p95", 0.95))}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live")
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=30.0, help="for each number of cameras")
    parser.add_argument("--threads", type=int, help="of the engine; default: one a core")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--alone", type=int, help="only watch so many, and print the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
