"""The tables of pipelines, live cameras and soaks."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .stream_rows import GROWTH_PERCENT, UNFAIRNESS_PERCENT, LiveRow, PipelineRow, SoakRow
from .table_text import measured, ms, newest, table
from .timings import Ratio

__all__ = [
    "live_line",
    "live_table",
    "pipeline_line",
    "pipeline_tables",
    "soak_line",
    "soak_table",
]

_NOTHING = "Not measured yet."


def pipeline_tables(rows: Sequence[PipelineRow]) -> str:
    """Wall time against the loop and the floor; and where the CPU time goes."""
    rows = newest(rows)
    if not rows:
        return _NOTHING
    lines, cpu = [], []
    for row in rows:
        stages = {name: statistics.median(values) for name, values in row.stages_ms.items()}
        ours, naive = (statistics.median(row.wall_ms[name]) for name in ("ours", "naive"))
        asked = "–" if row.asked_ratio is None else f"≥ {row.asked_ratio:g}×"
        floor = sum(stages.values()) / row.cores
        lines.append(
            [
                *(row.engine, row.video, row.frame, str(row.cores)),
                f"{ms(ours)} ({1000 / ours:.1f} frames/s)",
                f"{ms(naive)} ({1000 / naive:.1f} frames/s)",
                *(_ratio(row.ratio), asked),
                *(ms(floor), _ratio(row.over_floor), f"≤ {row.asked_over_floor:g}×"),
            ]
        )
        cpu.append(
            [
                row.engine,
                *(ms(value) for value in (*stages.values(), sum(stages.values()))),
                *(ms(statistics.median(row.cpu_ms[name])) for name in ("ours", "naive")),
            ]
        )
    headers = ["engine", "video", "frame", "cores", "ours, ms/frame", "loop, ms/frame", "ratio",
               "asked", "floor, ms/frame", "ours over the floor", "asked"]  # fmt: skip
    cpu_headers = ["engine", *(f"{name}, CPU ms" for name in rows[0].stages_ms), "sum, CPU ms",
                   "ours, CPU ms", "loop, CPU ms"]  # fmt: skip
    notes = "\n".join(
        f"- {row.engine}: {row.verified}; {row.workers} workers, {row.encoder}." for row in rows
    )
    return "\n\n".join([table(headers, lines), table(cpu_headers, cpu), notes, *measured(rows)])


def pipeline_line(row: PipelineRow) -> str:
    """One line for the terminal."""
    stages = ", ".join(
        f"{name} {ms(statistics.median(values))}" for name, values in row.stages_ms.items()
    )
    cpu = {name: ms(statistics.median(values)) for name, values in row.cpu_ms.items()}
    return (
        f"{row.engine}: {ms(statistics.median(row.wall_ms['ours']))} ms a frame, "
        f"{_ratio(row.ratio)} over a loop, {_ratio(row.over_floor)} the floor; CPU ms a frame: "
        f"{stages}; ours {cpu['ours']}, loop {cpu['naive']}; {row.verified}"
    )


def live_table(rows: Sequence[LiveRow]) -> str:
    """One line for each engine and number of cameras."""
    rows = newest(rows)
    if not rows:
        return _NOTHING
    headers = ["engine", "threads", "video", "streams", "decoded", "results", "dropped",
               "inference p50 / p95, ms", "age p50 / p95, ms", "asked of p95"]  # fmt: skip
    lines = [
        [
            *(row.engine, str(row.threads), f"{row.video}, {row.fps:.4g} fps, {row.seconds:g} s"),
            *(str(each.streams), str(each.decoded), str(each.results), str(each.dropped)),
            *(_p50_p95(each.infer_ms), _p50_p95(each.age_ms)),
            f"≤ {ms(row.bound_ms)} ms" if each.streams == 1 else "–",
        ]
        for row in rows
        for each in row.figures
    ]
    return "\n\n".join([table(headers, lines), *measured(rows)])


def live_line(row: LiveRow) -> str:
    """One line for the terminal."""
    parts = [
        f"{each.streams} streams: {each.results} results, {each.dropped} dropped of "
        f"{each.decoded}, inference {_p50_p95(each.infer_ms)} ms, age {_p50_p95(each.age_ms)} ms"
        for each in row.figures
    ]
    return f"{row.engine}, {row.threads} threads: {'; '.join(parts)}; bound {ms(row.bound_ms)} ms"


def soak_table(rows: Sequence[SoakRow]) -> str:
    """One line a soak."""
    rows = newest(rows)
    if not rows:
        return _NOTHING
    headers = ["engine", "video", "streams", "minutes", "results a stream", "unfairness",
               "resident, MiB", "growth", "peak, MiB", "threads", "descriptors",
               "left at the end"]  # fmt: skip
    lines = [
        [
            row.engine,
            f"{row.video}, {'opened again and again, ' if row.reopened else ''}"
            f"at most {row.max_fps:g} fps each",
            *(str(row.streams), f"{row.seconds / 60:g}"),
            f"{min(row.results)}–{max(row.results)}",
            _unfairness(row),
            _from_to(row.rss_mib),
            f"{row.growth_percent:+.2f} % (< {GROWTH_PERCENT:g} %)",
            f"{row.rss_peak_mib:.1f}",
            *(_from_to(row.threads), _from_to(row.descriptors)),
            ", ".join(f"{count} {name}" for name, count in row.left.items()),
        ]
        for row in rows
    ]
    return "\n\n".join([table(headers, lines), *measured(rows)])


def soak_line(row: SoakRow) -> str:
    """One line for the terminal."""
    return (
        f"{row.streams} streams for {row.seconds:g} s: {sum(row.results)} results "
        f"({min(row.results)}–{max(row.results)} a stream), unfairness {_unfairness(row)}, "
        f"memory {_from_to(row.rss_mib)} MiB ({row.growth_percent:+.2f} %), "
        f"threads {_from_to(row.threads)}, descriptors {_from_to(row.descriptors)}, "
        f"left: {row.left}"
    )


def _unfairness(row: SoakRow) -> str:
    if row.contest is None:
        return "not measured"
    got = f"{min(row.contest.results)}–{max(row.contest.results)} of {sum(row.contest.offered)}"
    return f"{row.unfairness_percent:.1f} % (≤ {UNFAIRNESS_PERCENT:g} %; {got})"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.median:.2f}× ({ratio.low:.2f}–{ratio.high:.2f})"


def _p50_p95(times_ms: dict[str, float]) -> str:
    return f"{ms(times_ms['p50'])} / {ms(times_ms['p95'])}"


def _from_to(values: tuple[float, float]) -> str:
    return " → ".join(f"{value:.4g}" for value in values)
