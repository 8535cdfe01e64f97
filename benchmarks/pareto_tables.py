"""The rows of the Pareto picture as text."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .pareto_rows import ParetoAccuracyRow, ParetoPoint, ParetoSpeedRow, front, pareto_points
from .rows import Row
from .table_text import measured, ms, ratio_text, table

__all__ = ["PICTURE", "accuracy_line", "pareto_table", "speed_line"]

PICTURE = "images/pareto.svg"  # beside the page

_HEADERS = ["model", "head", "width", "map stride", "trained at", "input", "precision",
            "MaxBoxAccV2", "GT-known", "Top-1 Loc", "network, ms", "frame to box, ms",
            "over eager paper", "ONNX, MB"]  # fmt: skip
_METRICS = ("MaxBoxAccV2", "GT-known", "Top-1 Loc")


def accuracy_line(row: ParetoAccuracyRow) -> str:
    """One line for the terminal."""
    metrics = ", ".join(f"{name} {row.metrics[name]:.1f}" for name in _METRICS)
    return f"{metrics} at {row.cut}, {row.images} images"


def speed_line(row: ParetoSpeedRow) -> str:
    """One line for the terminal."""
    return (
        f"{ms(row.ours.p50_ms)} ms, network {ms(row.ours.stages_ms['infer'])} ms, "
        f"{ratio_text(row.ratio)} over the eager paper head ({ms(row.eager.p50_ms)} ms); "
        f"{row.verified}"
    )


def pareto_table(accuracy: Sequence[ParetoAccuracyRow], speed: Sequence[ParetoSpeedRow]) -> str:
    """Picture and table; engines on the front in bold. A sentence where there are no rows."""
    points = pareto_points(accuracy, speed)
    best = front(points)
    lines = [_line(point, bold=point in best) for point in points]
    timed = [point.speed for point in points if point.speed is not None]
    parts = [table(_HEADERS, lines)]
    if timed:
        eager = statistics.median(row.eager.p50_ms for row in timed)
        classes = ", ".join(sorted({str(row.classes) for row in timed}))
        parts.insert(0, f"![Accuracy over latency of the engines in the table]({PICTURE})")
        parts.append(
            "Bold: no other engine is both as fast and more accurate. The eager paper head with "
            f"{classes} classes took {ms(eager)} ms (median of the medians next to each engine)."
        )
    rows: list[Row] = [*(point.accuracy for point in points), *timed]
    return "\n\n".join([*parts, *measured(rows)])


def _line(point: ParetoPoint, *, bold: bool) -> list[str]:
    candidate, speed = point.candidate, point.speed
    name = f"**{candidate.name}**" if bold else candidate.name
    times = ["–", "–", "–"]
    if speed is not None:
        ours = speed.ours
        times = [ms(ours.stages_ms["infer"]), ms(ours.p50_ms), ratio_text(speed.ratio)]
    return [
        *(name, candidate.head or "–"),
        *(f"{known:g}" if known else "–" for known in
          (candidate.width, candidate.map_stride, candidate.trained_at)),
        *(str(candidate.input_size), candidate.precision),
        *(f"{point.accuracy.metrics[metric]:.1f}" for metric in _METRICS),
        *times,
        f"{candidate.onnx_bytes / 1e6:.1f}",
    ]  # fmt: skip
