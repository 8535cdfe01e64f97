"""The table of smoothed videos."""

from __future__ import annotations

from collections.abc import Sequence

from .steady_rows import SteadyFigures, SteadyRow
from .table_text import measured, ms, newest, table

__all__ = ["steady_line", "steady_table"]

_HEADERS = ["camera", "smoothing", "IoU", "IoU p10", "jitter, px", "jitter p50", "jitter p90",
            "latency, frames", "IoU with unsmoothed", "label changes", "after a cut, frames",
            "false cuts", "ms/frame"]  # fmt: skip


def steady_table(rows: Sequence[SteadyRow]) -> str:
    """One line for each way of smoothing each video."""
    rows = newest(rows)
    if not rows:
        return "Not measured yet."
    lines = [
        [f"{row.camera}", _title(name, row), *_cells(figures)]
        for row in rows
        for name, figures in row.figures.items()
    ]
    videos = dict.fromkeys(f"{row.video} ({row.frames} frames), {row.model}" for row in rows)
    return "\n\n".join([f"{'; '.join(videos)}:", table(_HEADERS, lines), *measured(rows)])


def steady_line(row: SteadyRow) -> str:
    """One line for the terminal."""
    parts = [
        f"{name}: IoU {each.iou_mean:.3f}, jitter {each.jitter_px_mean:.1f} px, "
        f"latency {each.latency_frames}, cut {each.cut_frames}"
        for name, each in row.figures.items()
        if name == "off" or name in row.presets
    ]
    return f"{row.video}, {row.camera}: {'; '.join(parts)}"


def _title(name: str, row: SteadyRow) -> str:
    return f"`{name}`" if name == "off" or name in row.presets else name


def _cells(each: SteadyFigures) -> list[str]:
    return [
        *(f"{each.iou_mean:.3f}", f"{each.iou_p10:.3f}", f"{each.jitter_px_mean:.1f}"),
        *(f"{each.jitter_px_p50:.1f}", f"{each.jitter_px_p90:.1f}", str(each.latency_frames)),
        *(f"{each.same_frame_iou:.3f}", str(each.label_changes), str(each.cut_frames)),
        *(str(each.false_cuts), ms(each.ms_per_frame)),
    ]
