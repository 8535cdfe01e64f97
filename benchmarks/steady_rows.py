"""What smoothing does to the boxes of one video, as a row and as a table."""

from __future__ import annotations

import msgspec

from .timings import Provenance

__all__ = ["SteadyFigures", "SteadyRow", "missed_steady"]

_CUT_FRAMES = 2  # within which a cut must be over


class SteadyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One way of smoothing.

    Attributes:
        iou_mean, iou_p10: Of the box with that of the frame before.
        jitter_px_mean, jitter_px_p50, jitter_px_p90: Mean distance of its corners from theirs.
        latency_frames: By how many frames the boxes must be moved up to lie closest (by the
            median distance of the corners) to those without smoothing.
        same_frame_iou: Mean IoU with the box of the same frame without smoothing.
        label_changes: How often the label is not that of the frame before.
        cut_frames: The most frames after a planted cut until the box has an IoU of 0.9 with that
            without smoothing; 0 is the frame of the cut itself.
        false_cuts: How often it started anew where there is no cut.
        ms_per_frame: Median time of `Steadier.steady`.
    """

    iou_mean: float
    iou_p10: float
    jitter_px_mean: float
    jitter_px_p50: float
    jitter_px_p90: float
    latency_frames: int
    same_frame_iou: float
    label_changes: int
    cut_frames: int
    false_cuts: int
    ms_per_frame: float


class SteadyRow(msgspec.Struct, frozen=True, kw_only=True, tag="steady", tag_field="kind"):
    """One video, smoothed in several ways.

    Attributes:
        video, model: Their files' names.
        camera: "as filmed", or what was planted.
        frame: Width × height.
        cuts: How many cuts were planted, each alone.
        figures: By the name of the way.
        presets: Those that are held to the reaction asked for.
    """

    case: str = "steady"
    provenance: Provenance
    video: str
    model: str
    camera: str
    frame: str
    frames: int
    cuts: int
    figures: dict[str, SteadyFigures]
    presets: tuple[str, ...]


def missed_steady(row: SteadyRow) -> list[str]:
    """What the row does not show."""
    plain = row.figures["off"]
    missed = []
    for name in row.presets:
        ours = row.figures[name]
        if ours.cut_frames > _CUT_FRAMES:
            missed.append(f"{name}: {ours.cut_frames} frames after a cut, {_CUT_FRAMES} asked")
        if ours.false_cuts:
            missed.append(f"{name}: {ours.false_cuts} cuts seen where there is none")
        if ours.iou_mean <= plain.iou_mean or ours.jitter_px_mean >= plain.jitter_px_mean:
            missed.append(f"{name}: no steadier than without smoothing")
    return missed
