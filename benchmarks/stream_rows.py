"""Rows of pipelines, live cameras and soaks: what was seen, and what is asked of it."""

from __future__ import annotations

import msgspec

from .timings import Provenance, Ratio

__all__ = [
    "Contest",
    "LiveFigures",
    "LiveRow",
    "PipelineRow",
    "SoakRow",
    "missed_live",
    "missed_pipeline",
    "missed_soak",
]

GROWTH_PERCENT = 1.0
UNFAIRNESS_PERCENT = 10.0
_SERVED = 0.8  # of its frames: a stream that gets more was not short of the engine


class PipelineRow(msgspec.Struct, frozen=True, kw_only=True, tag="pipeline", tag_field="kind"):
    """One video to its annotated copy: our pipeline, a loop, and each stage by itself.

    Attributes:
        frame: Width × height.
        cores: CPUs that every process could use.
        workers: Threads that ran the engine in our pipeline, each with one thread of its own.
        verified: What was compared before anything was timed.
        wall_ms: Wall time a frame of each block, of "ours" and "naive".
        cpu_ms: CPU time a frame of each block, of "ours" and "naive".
        stages_ms: CPU time a frame of each block, per stage, each in a process of its own.
        ratio: "naive" over "ours", of neighbouring blocks.
        over_floor: The wall time of "ours" over the sum of the stages / `cores`, likewise.
        asked_ratio: None where nothing is asked.
    """

    case: str = "pipeline"
    provenance: Provenance
    engine: str
    precision: str
    video: str
    frame: str
    frames: int
    cores: int
    workers: int
    encoder: str
    verified: str
    wall_ms: dict[str, tuple[float, ...]]
    cpu_ms: dict[str, tuple[float, ...]]
    stages_ms: dict[str, tuple[float, ...]]
    ratio: Ratio
    over_floor: Ratio
    asked_ratio: float | None
    asked_over_floor: float


class LiveFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Some cameras for some seconds.

    Attributes:
        decoded, results, dropped: Frames of all of them.
        accounted: The results and the drops that they tell of are all pictures that the camera
            itself counted up to the last result, and the drops counted at the end explain every
            other.
        age_ms, infer_ms: {"p50", "p95"} from capture to result, and of resize, network and boxes
            alone; over all results.
    """

    streams: int
    decoded: int
    results: int
    dropped: int
    accounted: bool
    age_ms: dict[str, float]
    infer_ms: dict[str, float]


class LiveRow(msgspec.Struct, frozen=True, kw_only=True, tag="live", tag_field="kind"):
    """One engine on simulated cameras.

    Attributes:
        fps: Of each camera.
        threads: CPU threads of the engine, in all.
        seconds: Of each number of cameras.
        bound_ms: What the 95th percentile of the age is held to, with one camera.
        figures: For one camera, and for more.
    """

    case: str = "live"
    provenance: Provenance
    engine: str
    video: str
    fps: float
    threads: int
    seconds: float
    bound_ms: float
    figures: tuple[LiveFigures, ...]


class Contest(msgspec.Struct, frozen=True, kw_only=True):
    """Streams that ask for more of an engine than there is.

    Attributes:
        offered, results: Frames that each stream had, and those that were localized.
    """

    seconds: float
    offered: tuple[int, ...]
    results: tuple[int, ...]


class SoakRow(msgspec.Struct, frozen=True, kw_only=True, tag="soak", tag_field="kind"):
    """Several simulated cameras for some minutes, in a process that is watched from outside.

    Attributes:
        max_fps: Most frames a second of each stream.
        reopened: The file was opened again at its end; otherwise it lasted.
        warm_up_s: Samples before it count for nothing.
        results: Of each stream.
        decoded, dropped, unusable: Frames of all streams.
        lines, annotated, sink_dropped: Results and pictures in the files of the sinks, and results
            that sinks missed.
        failures: What sinks raised, in words.
        rss_mib, threads, descriptors: Medians of the first and of the last tenth of the samples.
        growth_percent: Of the resident memory, between those two.
        slope_kib_per_minute: Of the resident memory, by least squares.
        rss_peak_mib: The largest sample.
        unfairness_percent: How far the stream with the fewest results is behind the one with the
            most, of `contest` where there is one.
        left: Threads and descriptors that there are more of after the end than before the start.
        samples: (seconds, resident MiB, threads, descriptors), thinned.
        contest: Who got how much of the engine where it was short; None in rows from before it
            was looked at, whose streams were equal because of `max_fps`.
    """

    case: str = "soak"
    provenance: Provenance
    engine: str
    video: str
    streams: int
    seconds: float
    max_fps: float
    reopened: bool
    warm_up_s: float
    results: tuple[int, ...]
    decoded: int
    dropped: int
    unusable: int
    lines: int
    annotated: int
    sink_dropped: int
    failures: tuple[str, ...]
    rss_mib: tuple[float, float]
    threads: tuple[float, float]
    descriptors: tuple[float, float]
    growth_percent: float
    slope_kib_per_minute: float
    rss_peak_mib: float
    unfairness_percent: float
    left: dict[str, int]
    samples: tuple[tuple[float, float, int, int], ...]
    contest: Contest | None = None


def missed_pipeline(row: PipelineRow) -> list[str]:
    """What the row does not show."""
    missed = []
    if row.asked_ratio is not None and row.ratio.median < row.asked_ratio:
        missed.append(f"pipeline: {row.ratio.median:g}x over a loop, {row.asked_ratio:g}x asked")
    if row.over_floor.median > row.asked_over_floor:
        missed.append(
            f"pipeline: {row.over_floor.median:g}x the floor, "
            f"at most {row.asked_over_floor:g}x asked"
        )
    return missed


def missed_live(row: LiveRow) -> list[str]:
    """What the row does not show; only one camera is held to the bound."""
    missed = []
    for each in row.figures:
        if each.results == 0:
            missed.append(f"live, {each.streams} streams: no results")
        if not each.accounted:
            missed.append(f"live, {each.streams} streams: drops are not counted right")
        if each.streams == 1 and each.age_ms["p95"] > row.bound_ms:
            missed.append(
                f"live: p95 of the age is {each.age_ms['p95']:g} ms, "
                f"at most {row.bound_ms:g} ms asked"
            )
    return missed


def missed_soak(row: SoakRow) -> list[str]:
    """What the row does not show."""
    missed = []
    if row.growth_percent >= GROWTH_PERCENT:
        missed.append(
            f"soak: memory grew by {row.growth_percent:g} %, under {GROWTH_PERCENT:g} % asked"
        )
    for name, (first, last) in (("threads", row.threads), ("descriptors", row.descriptors)):
        if last > first:
            missed.append(f"soak: {name} rose from {first:g} to {last:g}")
    missed += [f"soak: {count} {name} left at the end" for name, count in row.left.items() if count]
    missed += _missed_contest(row)
    missed += [f"soak: {failure}" for failure in row.failures]
    if row.unusable:
        missed.append(f"soak: {row.unusable} frames could not be used")
    if row.lines + row.sink_dropped < sum(row.results):
        missed.append(f"soak: {row.lines} lines of {sum(row.results)} results")
    return missed


def _missed_contest(row: SoakRow) -> list[str]:
    if row.contest is None:
        return ["soak: no streams competed for the engine"]
    missed = [
        f"soak: {results} of {offered} frames of a stream that competed were localized, "
        f"so the engine was not short"
        for results, offered in zip(row.contest.results, row.contest.offered, strict=True)
        if results > _SERVED * offered
    ]
    if row.unfairness_percent > UNFAIRNESS_PERCENT:
        missed.append(
            f"soak: results of streams differ by {row.unfairness_percent:g} %, "
            f"{UNFAIRNESS_PERCENT:g} % asked"
        )
    return missed
