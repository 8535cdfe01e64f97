"""What a GPU was measured to do, and what it must do at the least, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from .gpu_counts import MapsShape, Work, localize_work, resize_work
from .gpu_rows import GpuFrameRow, GpuOpRow
from .table_text import both, measured, ms, newest, ratio_text, table

__all__ = ["NOT_MEASURED", "floors_table", "frame_line", "frame_tables", "op_line", "op_table"]

NOT_MEASURED = "Not measured yet: no GPU was at hand."

# Bandwidths as NVIDIA publishes them, GB/s.
_PUBLISHED = {"H200, 4.8 TB/s": 4800.0, "AGX Orin, 204.8 GB/s": 204.8, "Orin NX, 102.4 GB/s": 102.4}


def floors_table() -> str:
    """Bytes and launches, counted from shapes; no measurement."""
    counted: list[tuple[str, Work]] = []
    for form in ("all", "selected", "mean"):
        for images in (1, 64, 256) if form == "all" else (1, 64):
            shape = MapsShape(form, images)
            counted.append((f"`localize_maps`, {shape.title}", localize_work(shape)))
    for frame in ((720, 1280), (1080, 1920)):
        for pixels in ("RGB", "NV12"):
            name = f"`resize_frame`, {pixels}, {frame[1]}×{frame[0]}"
            counted.append((name, resize_work(frame, (224, 224), pixels)))
    lines = [
        [
            name,
            str(work.launches),
            f"{work.input_bytes:,}",
            f"{work.moved_bytes:,}",
            *(f"{work.moved_bytes / speed / 1e3:.3g}" for speed in _PUBLISHED.values()),
        ]
        for name, work in counted
    ]
    headers = ["op", "launches", "input, bytes", "read and written, bytes"]
    return table([*headers, *(f"µs at {name}" for name in _PUBLISHED)], lines)


def op_table(rows: Sequence[GpuOpRow]) -> str:
    """Every op and yardstick, with its distance to both floors."""
    if not rows:
        return NOT_MEASURED
    rows = newest(rows)
    lines = []
    for row in rows:
        asked = "–"
        if row.limit_us is not None:
            asked = f"≤ {row.limit_us:g} µs"
        elif row.asked_copy_share is not None:
            asked = f"≥ {100 * row.asked_copy_share:.0f} % of a copy"
        lines.append(
            [
                *(f"`{row.op}`", row.shape, row.cache),
                f"{row.p50_us:.3g} (p90 {row.p90_us:.3g}, p99 {row.p99_us:.3g})",
                "–" if row.chain_us is None else f"{row.chain_us:.3g}",
                f"{row.bytes_floor_us:.2g}" if row.moved_bytes else "–",
                f"{row.launches}: {row.launch_floor_us:.3g}" if row.launches else "–",
                _plain(row.gb_per_s) if row.input_bytes else "–",
                "–" if row.op in ("copy", "launches") else f"{100 * row.copy_share:.0f} %",
                asked,
            ]
        )
    headers = ["op", "shape", "input", "µs", "in a chain, µs", "bytes floor, µs",
               "launches and their floor, µs", "input GB/s", "of a copy", "asked"]  # fmt: skip
    notes = dict.fromkeys(
        f"- `{row.op}`, {row.shape}: {row.verified}; {row.rotated_bytes / 1e6:.0f} MB of input "
        "in turn."
        for row in rows
        if row.verified
    )
    return "\n\n".join([table(headers, lines), *_listed(notes), *measured(rows)])


def op_line(row: GpuOpRow) -> str:
    """One line for the terminal."""
    share = f", {100 * row.copy_share:.0f} % of a copy" if row.verified else ""
    return f"{row.op} ({row.shape}, {row.cache}): {row.p50_us:.3g} µs{share}"


def frame_tables(rows: Sequence[GpuFrameRow]) -> str:
    """Frames to boxes against the baselines, and our parts on the device."""
    if not rows:
        return NOT_MEASURED
    rows = newest(rows)
    lines = [
        [
            *(row.frame, str(row.batch), name, both(timing)),
            f"{row.frames_per_s(name):,.0f}",
            ratio_text(row.ratios[name]) if name in row.ratios else "–",
            f"≥ {row.targets[name]:g}×" if name in row.targets else "–",
        ]
        for row in rows
        for name, timing in row.timings.items()
    ]
    headers = ["frame", "batch", "variant", "ms a call", "frames/s", "its time over ours", "asked"]
    parts = list(dict.fromkeys(part for row in rows for part in row.stages_us))
    stages = [
        [
            *(row.frame, str(row.batch)),
            *(f"{row.stages_us[part]:.3g}" if part in row.stages_us else "–" for part in parts),
            f"{100 * row.kernel_share:.1f} %",
            "–" if row.most_kernel_share is None else f"< {100 * row.most_kernel_share:g} %",
        ]
        for row in rows
    ]
    stage_headers = ["frame", "batch", *(f"{part}, µs" for part in parts),
                     "pre and post of the total", "asked"]  # fmt: skip
    notes = dict.fromkeys(
        f"- {row.frame}, batch {row.batch}: {row.runner}, {row.graph}; {row.verified}."
        for row in rows
    )
    said = dict.fromkeys(f"- Not TensorRT: {row.said}" for row in rows if row.said)
    return "\n\n".join(
        [
            table(headers, lines),
            table(stage_headers, stages),
            *_listed([*notes, *said]),
            *measured(rows),
        ]
    )


def frame_line(row: GpuFrameRow) -> str:
    """One line for the terminal."""
    ours = f"{row.frame}, batch {row.batch}: ours {ms(row.timings['ours'].p50_ms)} ms"
    others = [f"{ratio_text(ratio)} over {name}" for name, ratio in row.ratios.items()]
    return "; ".join([ours, *others, f"our kernels {100 * row.kernel_share:.1f} %", row.runner])


def _listed(notes: Sequence[str] | dict[str, None]) -> list[str]:
    return ["\n".join(notes)] if notes else []


def _plain(value: float) -> str:
    """No exponent."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
