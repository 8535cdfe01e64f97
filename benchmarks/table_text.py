"""Pieces that every table is made of."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

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
    Provenance,
    Ratio,
    Row,
    SegmentationRow,
    SoakRow,
    SpeedRow,
    SteadyRow,
    Timing,
    TrainProcessesRow,
    VideoRow,
)

__all__ = ["Some", "both", "measured", "ms", "newest", "ratio_text", "table"]

_BOARD = ("target", "driver", "cuda", "nvcc", "power.limit")

Some = TypeVar(
    "Some",
    SpeedRow,
    VideoRow,
    ParityRow,
    AccuracyRow,
    GpuOpRow,
    GpuFrameRow,
    MemoryRow,
    PrecisionRow,
    ParetoAccuracyRow,
    ParetoSpeedRow,
    PipelineRow,
    LiveRow,
    SoakRow,
    SteadyRow,
    AnalysisRow,
    SegmentationRow,
    TrainProcessesRow,
)


def newest(rows: Iterable[Some]) -> list[Some]:
    """The last row of each case on each machine, in the order of their first appearance."""
    last: dict[Hashable, Some] = {}
    for row in rows:
        conditions = row.provenance.conditions
        machine = (conditions.get("cpu"), conditions.get("cores_usable"))
        key: Hashable = (row.case, machine)
        if isinstance(row, AccuracyRow):
            key = (row.data, row.model, row.method, row.threshold)
        elif isinstance(row, ParityRow):
            key = (row.data, row.model)
        elif isinstance(row, MemoryRow):
            key = (row.case, row.what, row.images, row.frame)
        elif isinstance(row, PrecisionRow):
            key = (row.data, row.model, row.precision, row.flavour)
        elif isinstance(row, PlantedRow):
            key = (row.data, row.model, row.planted)
        elif isinstance(row, PipelineRow):
            key = (row.engine, row.video, machine)
        elif isinstance(row, LiveRow):
            key = (row.engine, row.video, row.threads, machine)
        elif isinstance(row, SoakRow):
            key = (row.engine, row.video, row.streams, row.reopened, machine)
        elif isinstance(row, SegmentationRow):
            key = (row.data, row.model)
        elif isinstance(row, SteadyRow):
            key = (row.video, row.model, row.camera)
        elif isinstance(row, AnalysisRow):
            key = (row.data, row.model, row.truth)
        elif isinstance(row, GpuOpRow):
            key = (row.device, row.op, row.shape, row.cache)
        elif isinstance(row, GpuFrameRow):
            key = (row.device, row.frame, row.batch)
        last[key] = row
    return list(last.values())


def measured(rows: Sequence[Row]) -> list[str]:
    """Where these rows come from: one bullet for each distinct machine, commit and day."""
    said: dict[str, list[str]] = {}
    for row in rows:
        said.setdefault(_conditions(row.provenance), []).append(f"`{row.provenance.command}`")
    bullets = [
        f"- {conditions}\n  by {', '.join(dict.fromkeys(commands))}"
        for conditions, commands in said.items()
    ]
    return ["Measured:\n\n" + "\n".join(bullets)] if bullets else []


def _conditions(given: Provenance) -> str:
    """Without what changes from minute to minute; that stays in the JSON lines."""
    have = given.conditions
    features = " ".join(have.get("cpu_features", ()))
    versions = ", ".join(f"{name} {each}" for name, each in have.get("versions", {}).items())
    governor = f", governor {have['governor']}" if "governor" in have else ""
    power = f", power mode {have['power_mode']}" if "power_mode" in have else ""
    gpu = have.get("gpu", {})
    board = ", ".join(f"{name} {gpu[name]}" for name in _BOARD if name in gpu)
    device = f"{gpu['name']} ({board}), " if gpu else ""
    return (
        f"{given.date[:10]}, commit {given.commit}, {device}{have.get('cpu', 'unknown CPU')} "
        f"({have.get('cores_usable', '?')} cores, {features}; ops path "
        f"{have.get('ops_path', '?')}{governor}{power}), "
        f"Python {have.get('python', '?')}, {versions};"
    )


def table(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """In Markdown; a sentence where there are no lines."""
    if not lines:
        return "No rows yet."
    rule = "|".join("---" for _ in headers)
    rows = [f"| {' | '.join(headers)} |", f"|{rule}|"]
    return "\n".join([*rows, *(f"| {' | '.join(line)} |" for line in lines)])


def both(timing: Timing) -> str:
    """Median and 90th percentile."""
    return f"{ms(timing.p50_ms)} (p90 {ms(timing.p90_ms)})"


def ratio_text(ratio: Ratio) -> str:
    """Median, lowest and highest."""
    return f"{ratio.median:.1f}× ({ratio.low:.1f}–{ratio.high:.1f})"


def ms(value: float) -> str:
    """Three significant digits, plain notation."""
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"
