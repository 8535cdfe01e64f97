"""Rows as text: the tables of docs/benchmarks.md, one line per finished run, comparisons."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .analysis_tables import analysis_line, analysis_table
from .conditions import REPOSITORY
from .gpu_tables import floors_table, frame_line, frame_tables, op_line, op_table
from .pareto_picture import pareto_picture
from .pareto_rows import pareto_points
from .pareto_tables import PICTURE, accuracy_line, pareto_table, speed_line
from .precision_tables import planted_line, planted_table, precision_line, precision_tables
from .rows import (
    AccuracyRow,
    AnalysisRow,
    GpuFrameRow,
    GpuOpRow,
    LiveRow,
    MemoryRow,
    ParetoAccuracyRow,
    ParetoSpeedRow,
    ParityRow,
    PipelineRow,
    PlantedRow,
    PrecisionRow,
    Row,
    SegmentationRow,
    SoakRow,
    SpeedRow,
    SteadyRow,
    Timing,
    TrainProcessesRow,
    VideoRow,
)
from .segmentation_tables import segmentation_line, segmentation_table
from .steady_tables import steady_line, steady_table
from .stream_tables import (
    live_line,
    live_table,
    pipeline_line,
    pipeline_tables,
    soak_line,
    soak_table,
)
from .table_text import Some, both, measured, ms, newest, ratio_text, table
from .train_tables import train_processes_line, train_processes_table

__all__ = ["PAGE", "compare_table", "page_with_rows", "pictures", "row_line"]

PAGE = REPOSITORY / "docs" / "benchmarks.md"

_MARKED = re.compile(r"(<!-- rows: (\w+) -->\n).*?(<!-- end of rows -->)", re.S)


def page_with_rows(page: str, rows: Sequence[Row]) -> str:
    """The page with what stands between each pair of row markers written anew.

    Raises:
        KeyError: A marker names a table that does not exist.
    """
    tables: dict[str, Callable[[], str]] = {
        "speed": lambda: _speed_tables(_only(rows, SpeedRow)),
        "video": lambda: _video_table(_only(rows, VideoRow)),
        "parity": lambda: _parity_table(_only(rows, ParityRow)),
        "accuracy": lambda: _accuracy_table(_only(rows, AccuracyRow), "accuracy"),
        "methods": lambda: _accuracy_table(_only(rows, AccuracyRow), "methods"),
        "precision": lambda: precision_tables(_only(rows, PrecisionRow)),
        "planted": lambda: planted_table(_only(rows, PlantedRow)),
        "memory": lambda: _memory_table(_only(rows, MemoryRow)),
        "pareto": lambda: pareto_table(_only(rows, ParetoAccuracyRow), _only(rows, ParetoSpeedRow)),
        "pipeline": lambda: pipeline_tables(_only(rows, PipelineRow)),
        "live": lambda: live_table(_only(rows, LiveRow)),
        "soak": lambda: soak_table(_only(rows, SoakRow)),
        "steady": lambda: steady_table(_only(rows, SteadyRow)),
        "analysis": lambda: analysis_table(_only(rows, AnalysisRow)),
        "segmentation": lambda: segmentation_table(_only(rows, SegmentationRow)),
        "train_processes": lambda: train_processes_table(_only(rows, TrainProcessesRow)),
        "floors": floors_table,
        "gpu_ops": lambda: op_table(_only(rows, GpuOpRow)),
        "gpu_frames": lambda: frame_tables(_only(rows, GpuFrameRow)),
    }
    return _MARKED.sub(lambda found: f"{found[1]}{tables[found[2]]()}\n{found[3]}", page)


def pictures(rows: Sequence[Row]) -> dict[Path, str]:
    """The files that the page shows, and their content; those without rows are not there."""
    points = pareto_points(_only(rows, ParetoAccuracyRow), _only(rows, ParetoSpeedRow))
    drawn = pareto_picture(points)
    return {} if drawn is None else {PAGE.parent / PICTURE: drawn}


def row_line(row: Row) -> str:
    """One line for the terminal."""
    if isinstance(row, SpeedRow):
        ours = f"ours {ms(row.timings['ours'].p50_ms)} ms"
        baselines = [
            f"{ratio_text(ratio)} over {name} ({ms(row.timings[name].p50_ms)} ms)"
            for name, ratio in row.ratios.items()
        ]
        return "; ".join([ours, *baselines, row.verified])
    if isinstance(row, VideoRow):
        return (
            f"{row.frames} of {row.expected_frames} frames, {row.fps:g} frames/s, "
            f"memory drifts by {row.rss_drift_mib:g} MiB after frame 50"
        )
    if isinstance(row, ParityRow):
        return f"{row.same} of {row.images} boxes agree, {row.unexplained} unexplained"
    if isinstance(row, GpuOpRow):
        return op_line(row)
    if isinstance(row, GpuFrameRow):
        return frame_line(row)
    if isinstance(row, PrecisionRow):
        return precision_line(row)
    if isinstance(row, PlantedRow):
        return planted_line(row)
    if isinstance(row, PipelineRow):
        return pipeline_line(row)
    if isinstance(row, LiveRow):
        return live_line(row)
    if isinstance(row, SoakRow):
        return soak_line(row)
    if isinstance(row, MemoryRow):
        return (
            f"{row.images} of {row.expected_images} images of {row.frame} in {row.seconds:g} s, "
            f"at most {row.peak_rss_mib:.0f} MiB"
        )
    if isinstance(row, ParetoAccuracyRow):
        return accuracy_line(row)
    if isinstance(row, ParetoSpeedRow):
        return speed_line(row)
    if isinstance(row, SegmentationRow):
        return segmentation_line(row)
    if isinstance(row, SteadyRow):
        return steady_line(row)
    if isinstance(row, TrainProcessesRow):
        return train_processes_line(row)
    if isinstance(row, AnalysisRow):
        return analysis_line(row)
    metrics = ", ".join(f"{name} {value:.1f}" for name, value in row.metrics.items())
    return f"{row.method} {row.threshold} {row.cut}: {metrics}"


def compare_table(before: Sequence[Row], after: Sequence[Row]) -> str:
    """Our medians of two sets of rows, case by case, newest first of each."""
    old = {row.case: row.timings["ours"] for row in newest(_only(before, SpeedRow))}
    new = {row.case: row.timings["ours"] for row in newest(_only(after, SpeedRow))}
    lines = [
        [case, ms(old[case].p50_ms), ms(new[case].p50_ms), _change(old[case], new[case])]
        for case in new
        if case in old
    ]
    return table(["case", "before, ms", "after, ms", "change"], lines)


def _change(old: Timing, new: Timing) -> str:
    percent = 100 * (new.p50_ms / old.p50_ms - 1)
    apart = min(new.block_p50_ms) > max(old.block_p50_ms) or (
        max(new.block_p50_ms) < min(old.block_p50_ms)
    )
    return f"{percent:+.0f} %" if apart else f"{percent:+.0f} % (blocks overlap)"


def _only(rows: Iterable[Row], kind: type[Some]) -> list[Some]:
    return [row for row in rows if isinstance(row, kind)]


def _speed_tables(rows: Sequence[SpeedRow]) -> str:
    rows = newest(rows)
    lines: list[list[str]] = []
    stages: list[list[str]] = []
    for row in rows:
        ours = row.timings["ours"]
        for name, ratio in row.ratios.items():
            theirs = row.timings[name]
            target = row.targets.get(name)
            asked = "–" if target is None else f"≥ {target:g}×"
            shown = ratio_text(ratio)
            if row.limit_ms is not None:  # the baseline is there for scale, not to be beaten
                asked, shown = f"ours < {row.limit_ms:g} ms", "–"
            lines.append([f"`{row.case}`", str(row.threads), both(ours), name, both(theirs),
                          shown, asked])  # fmt: skip
        stages += [
            [f"`{row.case}`", name, *(ms(timing.stages_ms[s]) for s in ("pre", "infer", "post"))]
            for name, timing in row.timings.items()
            if timing.stages_ms
        ]
    headers = ["case", "threads", "ours, ms", "baseline", "its ms", "ratio", "asked"]
    parts = [table(headers, lines)]
    if stages:
        parts.append(table(["case", "variant", "pre, ms", "infer, ms", "post, ms"], stages))
    if rows:
        verified = dict.fromkeys(f"- `{row.case}`: {row.verified}." for row in rows)
        parts.append("\n".join(verified))
    return "\n\n".join([*parts, *measured(rows)])


def _video_table(rows: Sequence[VideoRow]) -> str:
    rows = newest(rows)
    headers = ["video", "model", "frames", "frames/s", "pre / infer / post, ms",
               "at frame 50, MiB", "growth, MiB", "drift, MiB", "slope, KiB/frame"]  # fmt: skip
    lines = [
        [
            row.video,
            row.model,
            f"{row.frames} of {row.expected_frames}",
            f"{row.fps:g}",
            " / ".join(ms(row.stages_ms[stage]) for stage in ("pre", "infer", "post")),
            f"{next((mib for frame, mib in row.rss_mib if frame >= 50), 0.0):.0f}",
            f"{row.rss_growth_mib:g}",
            f"{row.rss_drift_mib:g}",
            f"{row.rss_slope_kib_per_frame:g}",
        ]
        for row in rows
    ]
    return "\n\n".join([table(headers, lines), *measured(rows)])


def _parity_table(rows: Sequence[ParityRow]) -> str:
    rows = newest(rows)
    headers = ["model", "data", "images", "IoU ≥ 0.99", "at the cut", "class ties",
               "unexplained", "lowest IoU", "largest distance to the cut"]  # fmt: skip
    lines = [
        [
            *(row.model, row.data, str(row.images)),
            f"{row.same} ({100 * row.same / row.images:.2f} %)",
            *(str(row.at_the_cut), str(row.class_ties), str(row.unexplained)),
            *(f"{row.lowest_iou:.3f}", f"{row.largest_distance:.1e}"),
        ]
        for row in rows
    ]
    return "\n\n".join([table(headers, lines), *measured(rows)])


def _memory_table(rows: Sequence[MemoryRow]) -> str:
    rows = newest(rows)
    headers = ["measured", "images", "frame", "input", "seconds", "peak, MiB", "asked"]
    lines = [
        [
            *(row.what, str(row.images), row.frame, row.input, f"{row.seconds:g}"),
            *(f"{row.peak_rss_mib:.0f}", f"< {row.limit_mib:g} MiB"),
        ]
        for row in rows
    ]
    return "\n\n".join([table(headers, lines), *measured(rows)])


def _accuracy_table(every: Sequence[AccuracyRow], case: str) -> str:
    rows = newest([row for row in every if row.case == case])
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    lines = [
        [
            *(row.data, row.model, row.method, f"{row.threshold} ({row.cut})".replace(" ()", "")),
            *(f"{row.metrics[name]:.1f}" if name in row.metrics else "–" for name in names),
        ]
        for row in rows
    ]
    headers = ["data", "model", "method", "threshold", *names]
    training = dict.fromkeys(f"- {row.model}: {row.training}." for row in rows if row.training)
    notes = ["\n".join(training)] if training else []
    return "\n\n".join([table(headers, lines), *notes, *measured(rows)])
