"""Does anything grow, leak or starve while streams run for a long time?

    python -m benchmarks.soak --engine E.engine --video FILE --streams 8 --minutes 10

The file is played in real time by several streams of one pipeline, repeated without being encoded
anew so that it lasts, as a camera does; `--reopen` plays it in a loop instead, which opens it again
each time, with a new decoder, as a camera does whose connection is lost. Each stream has a
`JsonLines` of its own, and the first an `AnnotatedVideo` in segments. The process is watched from
outside, once a second: resident memory as it is, threads, descriptors. The first minute is a
warm-up that counts for nothing; then the median of the first tenth of the samples is held against
that of the last. After that, and unwatched, as many streams compete for the engine (`contest`).
Exit code 1 where a target was missed.
"""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge import Localizer
from bas_edge.video import (
    AnnotatedVideo,
    JsonLines,
    Pipeline,
    VideoSource,
    open_for_pipeline,
    open_source,
)

from .__main__ import provenance
from .child import report_of
from .conditions import REPOSITORY
from .contest import compete, unfairness_percent
from .harness import WorkerError, worker_environment
from .long_video import write_repeated
from .rows import RESULTS, Provenance, SoakRow, append_row, missed_targets
from .soak_samples import (
    Sample,
    Watch,
    first_and_last,
    growth_percent,
    read_sample,
    slope_mib_per_s,
)
from .stream_rows import Contest
from .tables import row_line

__all__ = ["Soaked", "main", "run_streams", "soak_row", "soak_row_of"]

WARM_UP_S = 60.0
KEPT_SAMPLES = 60
SEGMENT_S = 60.0  # of the annotated video
COMPETE_S = 30.0
_STARTED = "started"


class Soaked(msgspec.Struct, frozen=True, kw_only=True):
    """What the process that ran the streams counted; as in `SoakRow`."""

    seconds: float
    results: tuple[int, ...]
    decoded: int
    dropped: int
    unusable: int
    lines: int
    annotated: int
    sink_dropped: int
    failures: tuple[str, ...]
    left: dict[str, int]
    contest: Contest


def run_streams(
    engine: Path,
    video: Path,
    work: Path,
    *,
    streams: int,
    seconds: float,
    max_fps: float,
    compete_s: float = COMPETE_S,
) -> Soaked:
    """Run the streams in this process; says "started" when they do."""
    localizer, workers = open_for_pipeline(engine, streams=streams, lossless=False)
    with localizer:
        pixels = next(iter(VideoSource(video))).pixels
        before = _one_pass(localizer, workers, pixels, work)
        print(_STARTED, flush=True)
        lines = [JsonLines(work / f"{number}.jsonl") for number in range(streams)]
        annotated = AnnotatedVideo(
            work / "annotated" / "{date}-{time}.mp4", fps=max_fps, live=True, segment_s=SEGMENT_S
        )
        with Pipeline(localizer, workers=workers) as pipeline:
            for number, sink in enumerate(lines):
                source = open_source(
                    video,
                    name=f"camera {number}",
                    policy="newest",
                    realtime=True,
                    loop=True,
                    max_fps=max_fps,
                )
                pipeline.add(source, sinks=[sink] if number else [sink, annotated])
            stats = pipeline.run(duration_s=seconds)
        del pipeline, source, sink, lines, annotated
        after = _settled()
        contest = compete(localizer, workers, pixels, streams=streams, seconds=compete_s)
    return Soaked(
        seconds=stats.seconds,
        results=tuple(lane.results for lane in stats.lanes),
        decoded=sum(lane.stream.decoded for lane in stats.lanes),
        dropped=sum(lane.stream.dropped for lane in stats.lanes),
        unusable=sum(lane.unusable for lane in stats.lanes),
        lines=sum(_result_lines(work / f"{number}.jsonl") for number in range(streams)),
        annotated=sum(map(_pictures_in, (work / "annotated").glob("*.mp4"))),
        sink_dropped=sum(lane.sink_dropped for lane in stats.lanes),
        failures=stats.failures,
        left={
            "threads": max(0, after.threads - before.threads),
            "descriptors": max(0, after.descriptors - before.descriptors),
        },
        contest=contest,
    )


def soak_row(
    engine: Path,
    video: Path,
    given: Provenance,
    *,
    streams: int,
    seconds: float,
    max_fps: float,
    compete_s: float,
    warm_up_s: float = WARM_UP_S,
    reopen: bool = False,
) -> SoakRow:
    """Run the streams in a child process and watch it.

    Raises:
        WorkerError: The child failed.
    """
    with tempfile.TemporaryDirectory(prefix="bas-edge-benchmarks-") as work:
        played = video.resolve()
        if not reopen:
            played = Path(work) / f"long{video.suffix}"
            write_repeated(video, played, 1.2 * seconds)
        command = [sys.executable, "-m", "benchmarks.soak", "--work", work]
        command += ["--engine", str(engine.resolve()), "--video", str(played)]
        command += ["--streams", str(streams), "--minutes", str(seconds / 60)]
        command += ["--max-fps", str(max_fps), "--compete-s", str(compete_s)]
        threads = len(os.sched_getaffinity(0))
        with subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=worker_environment(threads),
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            watch = Watch(process.pid)
            output = ""
            for line in process.stdout:
                output = line
                if line.strip() == _STARTED:
                    watch.start()
            watch.stop()
        if process.returncode != 0:
            raise WorkerError(f"the streams failed with exit code {process.returncode}")
    soaked = report_of(output, Soaked)
    return soak_row_of(
        soaked,
        watch.samples,
        given,
        engine=engine,
        video=video,
        max_fps=max_fps,
        warm_up_s=warm_up_s,
        reopen=reopen,
    )


def soak_row_of(
    soaked: Soaked,
    samples: Sequence[Sample],
    given: Provenance,
    *,
    engine: Path,
    video: Path,
    max_fps: float,
    warm_up_s: float,
    reopen: bool = False,
) -> SoakRow:
    """The row of what was counted inside and watched from outside.

    Raises:
        WorkerError: The run was over before the warm-up was.
    """
    late = [one for one in samples if warm_up_s <= one.at_s <= soaked.seconds]
    if not late:
        raise WorkerError(f"{soaked.seconds:.0f} s is no longer than the warm-up.")
    first, last = first_and_last([one.rss_mib for one in late])
    return SoakRow(
        provenance=given,
        engine=engine.name,
        video=video.name,
        streams=len(soaked.results),
        seconds=round(soaked.seconds, 1),
        max_fps=max_fps,
        reopened=reopen,
        warm_up_s=warm_up_s,
        results=soaked.results,
        decoded=soaked.decoded,
        dropped=soaked.dropped,
        unusable=soaked.unusable,
        lines=soaked.lines,
        annotated=soaked.annotated,
        sink_dropped=soaked.sink_dropped,
        failures=soaked.failures,
        rss_mib=(round(first, 2), round(last, 2)),
        threads=first_and_last([one.threads for one in late]),
        descriptors=first_and_last([one.descriptors for one in late]),
        growth_percent=round(growth_percent(first, last), 3),
        slope_kib_per_minute=round(slope_mib_per_s(late) * 1024 * 60, 1),
        rss_peak_mib=round(max(one.rss_mib for one in late), 2),
        unfairness_percent=round(unfairness_percent(soaked.contest.results), 2),
        left=soaked.left,
        samples=tuple(
            (round(one.at_s, 1), round(one.rss_mib, 2), one.threads, one.descriptors)
            for one in samples[:: max(1, len(samples) // KEPT_SAMPLES)]
        ),
        contest=soaked.contest,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Append one row; exit code 1 where a target was missed."""
    options = _parser().parse_args(arguments)
    how = {
        "streams": options.streams,
        "seconds": 60 * options.minutes,
        "max_fps": options.max_fps,
        "compete_s": options.compete_s,
    }
    if options.work is not None:
        soaked = run_streams(options.engine, options.video, options.work, **how)
        print(msgspec.json.encode(soaked).decode())
        return 0
    command = shlex.join(["python", "-m", "benchmarks.soak", *(arguments or sys.argv[1:])])
    try:
        row = soak_row(
            options.engine,
            options.video,
            provenance(command),
            warm_up_s=options.warm_up_s,
            reopen=options.reopen,
            **how,
        )
    except WorkerError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    append_row(row, options.results)
    print(row_line(row))
    missed = missed_targets(row)
    for sentence in missed:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if missed else 0


def _one_pass(localizer: Localizer, workers: int, pixels: NDArray[np.uint8], work: Path) -> Sample:
    """A few frames of one stream through everything that is used; what the process has then."""
    sinks = [JsonLines(work / "first.jsonl"), AnnotatedVideo(work / "first.mp4")]
    with Pipeline(localizer, workers=workers) as pipeline:
        pipeline.add(open_source([pixels] * 4, policy="wait"), sinks=sinks)
        pipeline.run()
    return _settled()


def _result_lines(path: Path) -> int:
    """Lines of results in a file of `JsonLines`, each of them whole."""
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    return sum("event" not in line for line in lines)


def _pictures_in(path: Path) -> int:
    """How many pictures a video holds, by decoding it."""
    return sum(1 for _ in VideoSource(path).pictures())


def _settled() -> Sample:
    """This process, once its threads have had time to end and what is unused is gone."""
    gc.collect()
    threading.Event().wait(0.5)
    sample = read_sample(os.getpid())
    assert sample is not None
    return sample


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--max-fps", type=float, default=10.0, help="of each stream")
    parser.add_argument("--compete-s", type=float, default=COMPETE_S, help="of the contest")
    parser.add_argument("--reopen", action="store_true", help="open the file again at its end")
    parser.add_argument("--warm-up-s", type=float, default=WARM_UP_S)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, help="only run the streams, and print the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
