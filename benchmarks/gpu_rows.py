"""Rows of what was measured on a GPU: single ops by CUDA events, and frames to boxes."""

from __future__ import annotations

import msgspec

from .timings import Provenance, Ratio, Timing

__all__ = ["GpuFrameRow", "GpuOpRow", "missed_frame_targets", "missed_op_targets"]


class GpuOpRow(msgspec.Struct, frozen=True, kw_only=True, tag="gpu_ops", tag_field="kind"):
    """One op, replayed as a CUDA graph between two events.

    Attributes:
        device: As the driver names it.
        op: Its name in `bas_edge.ops.cuda`, or "copy" or "launches".
        shape: What tells it from other rows of the op.
        cache: "cold": its input was last touched before more bytes than any cache holds.
            "just written": its input was written right before, as by a network.
        verified: What was compared before anything was timed.
        replays: How many times were taken.
        p50_us, p90_us, p99_us: Of one replay.
        chain_us: The same op again and again on different inputs within one graph, for one of
            them; None where it was not measured.
        launches: Kernels, each waiting for the one before; 0 where it is a copy.
        input_bytes: Each byte of the op's input counted once.
        moved_bytes: Read and written by all kernels (benchmarks/gpu_counts.py).
        rotated_bytes: Inputs that the replays went through in turn.
        copy_gb_per_s: What a copy on this device reads and writes, measured in the same run.
        launch_floor_us: As many launches that do nothing, measured in the same run.
        limit_us: The most that is asked for.
        asked_copy_share: The least share of the copy's bandwidth that is asked for.
    """

    case: str
    provenance: Provenance
    device: str
    op: str
    shape: str
    cache: str
    verified: str
    replays: int
    p50_us: float
    p90_us: float
    p99_us: float
    chain_us: float | None = None
    launches: int
    input_bytes: int
    moved_bytes: int
    rotated_bytes: int
    copy_gb_per_s: float
    launch_floor_us: float
    limit_us: float | None = None
    asked_copy_share: float | None = None

    @property
    def gb_per_s(self) -> float:
        """Input bytes over the median."""
        return self.input_bytes / self.p50_us / 1e3

    @property
    def copy_share(self) -> float:
        """That, over the bandwidth of a copy (which counts what it reads and what it writes)."""
        return self.gb_per_s / self.copy_gb_per_s

    @property
    def bytes_floor_us(self) -> float:
        """Its bytes, at the speed of a copy."""
        return self.moved_bytes / self.copy_gb_per_s / 1e3


class GpuFrameRow(msgspec.Struct, frozen=True, kw_only=True, tag="gpu_frames", tag_field="kind"):
    """Batches of host frames to boxes: ours against baselines, alternating.

    Attributes:
        device: As the driver names it.
        runner: What ran our network: "tensorrt 10.13.3", or "torch 2.13.0".
        said: Why it is not TensorRT, in the words of the libraries; "" where it is.
        frame: "1280x720".
        batch: Frames in one call.
        verified: What was compared before anything was timed.
        timings: Per variant; "ours" is always one. Of a call.
        frames_per_call: Per variant: `batch`, or a multiple of it.
        ratios: Baseline over ours.
        stages_us: Of one batch on the device, by events, each part replayed on its own:
            "upload", "pre" (resize), "network", "post" (maps to boxes), "download".
        graph: Whether all of it was one CUDA graph; else what refused it.
        targets: The ratio asked for, per baseline that has one.
        most_kernel_share: The largest `kernel_share` that is asked for.
    """

    case: str
    provenance: Provenance
    device: str
    runner: str
    said: str
    frame: str
    batch: int
    verified: str
    timings: dict[str, Timing]
    frames_per_call: dict[str, int]
    ratios: dict[str, Ratio]
    stages_us: dict[str, float]
    graph: str
    targets: dict[str, float] = {}
    most_kernel_share: float | None = None

    @property
    def kernel_share(self) -> float:
        """Our kernels before and after the network, over our median: 0 to 1."""
        kernels_us = self.stages_us["pre"] + self.stages_us["post"]
        return kernels_us / 1e3 / self.timings["ours"].p50_ms

    def frames_per_s(self, variant: str) -> float:
        """One call after another."""
        return 1e3 * self.frames_per_call[variant] / self.timings[variant].p50_ms


def missed_op_targets(row: GpuOpRow) -> list[str]:
    """One sentence for each thing asked of this row that it does not show."""
    name = f"{row.case}: {row.op} ({row.shape}, {row.cache})"
    missed = []
    if row.limit_us is not None and row.p50_us > row.limit_us:
        missed.append(f"{name}: {row.p50_us:g} µs, at most {row.limit_us:g} µs asked")
    if row.asked_copy_share is not None and row.copy_share < row.asked_copy_share:
        missed.append(
            f"{name}: {100 * row.copy_share:.0f} % of a copy's bandwidth, "
            f"{100 * row.asked_copy_share:.0f} % asked"
        )
    return missed


def missed_frame_targets(row: GpuFrameRow) -> list[str]:
    """The same."""
    name = f"{row.case}: {row.frame}, batch {row.batch}"
    missed = [
        f"{name}: {row.ratios[baseline].median:g}x over {baseline}, {target:g}x asked"
        for baseline, target in row.targets.items()
        if row.ratios[baseline].median < target
    ]
    if row.most_kernel_share is not None and row.kernel_share >= row.most_kernel_share:
        missed.append(
            f"{name}: our kernels are {100 * row.kernel_share:.0f} % of the total, under "
            f"{100 * row.most_kernel_share:.0f} % asked"
        )
    return missed
