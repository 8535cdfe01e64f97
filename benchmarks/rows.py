"""Result rows: what one run of a case leaves behind, one JSON line each."""

from __future__ import annotations

from pathlib import Path

import msgspec

from .analysis_rows import AnalysisRow
from .gpu_rows import GpuFrameRow, GpuOpRow, missed_frame_targets, missed_op_targets
from .pareto_rows import ParetoAccuracyRow, ParetoSpeedRow
from .precision_rows import PlantedRow, PrecisionRow, missed_planted
from .segmentation_rows import SegmentationRow, missed_segmentation
from .steady_rows import SteadyRow, missed_steady
from .stream_rows import (
    LiveRow,
    PipelineRow,
    SoakRow,
    missed_live,
    missed_pipeline,
    missed_soak,
)
from .timings import Provenance, Ratio, Timing, ratio_of, timing_of
from .train_rows import TrainProcessesRow

__all__ = [
    "RESULTS",
    "AccuracyRow",
    "AnalysisRow",
    "GpuFrameRow",
    "GpuOpRow",
    "LiveRow",
    "MemoryRow",
    "ParetoAccuracyRow",
    "ParetoSpeedRow",
    "ParityRow",
    "PipelineRow",
    "PlantedRow",
    "PrecisionRow",
    "Provenance",
    "Ratio",
    "Row",
    "SegmentationRow",
    "SoakRow",
    "SpeedRow",
    "SteadyRow",
    "Timing",
    "TrainProcessesRow",
    "VideoRow",
    "append_row",
    "missed_targets",
    "ratio_of",
    "read_rows",
    "row_kind",
    "timing_of",
]

RESULTS = Path(__file__).parent / "results"

_FLAT_MIB = 4.0  # about one and a half frames of 1280x720


class SpeedRow(msgspec.Struct, frozen=True, kw_only=True, tag="speed", tag_field="kind"):
    """Ours against baselines, alternating.

    Attributes:
        verified: What was compared before anything was timed.
        timings: Per variant; "ours" is always one of them.
        ratios: Per baseline.
        targets: The ratio asked for, per baseline that has one.
        limit_ms: An absolute bound on our median, where there is one.
    """

    case: str
    provenance: Provenance
    verified: str
    threads: int
    timings: dict[str, Timing]
    ratios: dict[str, Ratio]
    targets: dict[str, float] = {}
    limit_ms: float | None = None


class VideoRow(msgspec.Struct, frozen=True, kw_only=True, tag="video", tag_field="kind"):
    """One video through `bas-edge run`.

    Attributes:
        fps: Frames over the wall time of the whole command, start of the process included.
        stages_ms: Median per frame of each stage that the result lines report.
        rss_mib: (frame, resident MiB) samples, thinned.
        rss_growth_mib: Largest sample from frame 50 on, minus the sample at frame 50. Frames in
            flight are part of it.
        rss_drift_mib: Median of the last 50 samples minus the median of the 50 from frame 50.
        rss_slope_kib_per_frame: Least-squares slope from frame 50 to the end.
    """

    case: str
    provenance: Provenance
    video: str
    model: str
    threads: int
    frames: int
    expected_frames: int
    wall_s: float
    fps: float
    stages_ms: dict[str, float]
    rss_mib: tuple[tuple[int, float], ...]
    rss_growth_mib: float
    rss_drift_mib: float
    rss_slope_kib_per_frame: float


class ParityRow(msgspec.Struct, frozen=True, kw_only=True, tag="parity", tag_field="kind"):
    """Our boxes against the eager model with published post-processing, on real images.

    Attributes:
        same: Images whose boxes have IoU of at least 0.99.
        at_the_cut: Others whose masks differ only in pixels within 1e-5 of the cut.
        class_ties: Others where logits closer than 1e-5 changed which classes were averaged.
        unexplained: What is left.
        largest_distance: Largest distance to the cut, as a fraction of the map's range, of any
            pixel on which the two sides disagree in an `at_the_cut` image.
    """

    case: str
    provenance: Provenance
    model: str
    data: str
    images: int
    same: int
    at_the_cut: int
    class_ties: int
    unexplained: int
    lowest_iou: float
    largest_distance: float


class AccuracyRow(msgspec.Struct, frozen=True, kw_only=True, tag="accuracy", tag_field="kind"):
    """One line of the accuracy table. Percentages, 0 to 100.

    Attributes:
        case: "accuracy" of an engine, or "methods" on one checkpoint.
        method: "bas-edge" or "centred box"; of "methods", their titles.
        threshold: Who chose the cut: "oracle" (the best fixed one on these images), "shipped" or
            "label-free" (chosen without any box), or "" where there is none.
        cut: The cut itself, such as "fixed 0.32".
        metrics: By name, in the order of the table's columns.
        training: The recipe, its steps and its wall time, where known.
    """

    case: str
    provenance: Provenance
    data: str
    images: int
    model: str
    method: str
    threshold: str
    cut: str
    metrics: dict[str, float]
    training: str = ""


class MemoryRow(msgspec.Struct, frozen=True, kw_only=True, tag="memory", tag_field="kind"):
    """What one process needed to calibrate on a folder of images.

    Attributes:
        what: What was measured on the frames.
        images: Frames that it used, of `expected_images`.
        frame, input: Width × height of an image, and of the network's input.
        peak_rss_mib: The highest resident memory of that process.
        limit_mib: What it must stay under.
        seconds: Wall time from the first image to the last statistic, without imports.
    """

    case: str
    provenance: Provenance
    what: str
    images: int
    expected_images: int
    frame: str
    input: str
    peak_rss_mib: float
    limit_mib: float
    seconds: float


Row = (
    SpeedRow
    | VideoRow
    | ParityRow
    | AccuracyRow
    | GpuOpRow
    | GpuFrameRow
    | MemoryRow
    | PrecisionRow
    | PlantedRow
    | ParetoAccuracyRow
    | ParetoSpeedRow
    | PipelineRow
    | LiveRow
    | SoakRow
    | SteadyRow
    | TrainProcessesRow
    | AnalysisRow
    | SegmentationRow
)


def row_kind(row: Row) -> str:
    """ "speed", "video", … : also the name of the file that holds it."""
    return str(type(row).__struct_config__.tag)


def append_row(row: Row, folder: Path = RESULTS) -> Path:
    """Add one JSON line to `folder/<kind>.jsonl` and return that file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{row_kind(row)}.jsonl"
    with path.open("ab") as file:
        file.write(msgspec.json.encode(row) + b"\n")
    return path


def read_rows(folder: Path = RESULTS) -> list[Row]:
    """All rows of all files in a folder, oldest first within each file."""
    return [row for path in sorted(folder.glob("*.jsonl")) for row in _rows_of(path)]


def missed_targets(row: Row) -> list[str]:
    """One sentence for each thing asked of this row that it does not show."""
    missed: list[str] = []
    if isinstance(row, SpeedRow):
        missed += [
            f"{row.case}: {row.ratios[name].median:g}x over {name}, {target:g}x asked"
            for name, target in row.targets.items()
            if row.ratios[name].median < target
        ]
        ours = row.timings["ours"].p50_ms
        if row.limit_ms is not None and ours >= row.limit_ms:
            missed.append(f"{row.case}: {ours:g} ms, under {row.limit_ms:g} ms asked")
    elif isinstance(row, VideoRow):
        if row.frames != row.expected_frames:
            missed.append(f"{row.case}: {row.frames} of {row.expected_frames} frames")
        if row.rss_drift_mib > _FLAT_MIB:
            missed.append(f"{row.case}: memory rose by {row.rss_drift_mib:g} MiB, flat asked")
    elif isinstance(row, ParityRow):
        if row.same < 0.995 * row.images:
            missed.append(f"{row.case}: {row.same} of {row.images} boxes agree, 99.5 % asked")
        if row.unexplained:
            missed.append(f"{row.case}: {row.unexplained} differing boxes are not at the cut")
    elif isinstance(row, MemoryRow):
        if row.images != row.expected_images:
            missed.append(f"{row.case}: {row.images} of {row.expected_images} images")
        if row.peak_rss_mib >= row.limit_mib:
            missed.append(
                f"{row.case}: {row.peak_rss_mib:g} MiB, under {row.limit_mib:g} MiB asked"
            )
    elif isinstance(row, PlantedRow):
        missed += missed_planted(row)
    elif isinstance(row, PipelineRow):
        missed += missed_pipeline(row)
    elif isinstance(row, LiveRow):
        missed += missed_live(row)
    elif isinstance(row, SoakRow):
        missed += missed_soak(row)
    elif isinstance(row, SteadyRow):
        missed += missed_steady(row)
    elif isinstance(row, SegmentationRow):
        missed += missed_segmentation(row)
    elif isinstance(row, GpuOpRow):
        missed += missed_op_targets(row)
    elif isinstance(row, GpuFrameRow):
        missed += missed_frame_targets(row)
    return missed


def _rows_of(path: Path) -> list[Row]:
    try:
        return msgspec.json.Decoder(Row).decode_lines(path.read_bytes())
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} holds a line that is no result row: {error}") from error
