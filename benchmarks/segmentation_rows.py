"""From image labels to a segmenter, as a row."""

from __future__ import annotations

import msgspec

from .timings import Provenance

__all__ = ["MAX_DROP", "SegmentationRow", "missed_segmentation"]

MAX_DROP = 0.5  # points of mIoU that fp16 and int8 may lose on "val"


class SegmentationRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="segmentation", tag_field="kind"
):
    """One run of the whole pipeline on one set; mIoU in percent, background included.

    Attributes:
        data: The set.
        model: The engine's name.
        images: Training images, and those of the split "val".
        seeds, walked: Pseudo masks of the training images before and after the random walk: at
            the threshold that they were written with, and at the best one in hindsight.
        threshold: That threshold; 0.5 in older rows, where it was fixed.
        walked_at_half: After the walk, at 0.5; UNSET in older rows.
        background: Of masks that are all background: on training images, and on "val".
        segmenter: Of the engine: on training images, and on "val".
        reduced: The same of engines of other precisions, by name; empty in older rows.
            Their bound is measured on "val".
        training: How it was trained, in words.
    """

    case: str = "segmentation"
    provenance: Provenance
    data: str
    model: str
    images: tuple[int, int]
    seeds: tuple[float, float]
    walked: tuple[float, float]
    threshold: float = 0.5
    walked_at_half: float | msgspec.UnsetType = msgspec.UNSET
    background: tuple[float, float]
    segmenter: tuple[float, float]
    reduced: dict[str, tuple[float, float]] = {}
    training: str


def missed_segmentation(row: SegmentationRow) -> list[str]:
    """The walk has to raise mIoU, every stage to beat no seeds, and fewer bits to cost little."""
    missed = []
    for at, which in enumerate(("as written", "at the best threshold")):
        if row.walked[at] <= row.seeds[at]:
            missed.append(
                f"{row.data}: {row.walked[at]:g} mIoU after the walk, {row.seeds[at]:g} before, "
                f"{which}"
            )
    if row.seeds[1] <= row.background[0]:
        missed.append(f"{row.data}: seeds of {row.seeds[1]:g} mIoU are no better than none")
    if row.segmenter[1] <= row.background[1]:
        missed.append(f"{row.data}: the segmenter is no better than background alone")
    for precision, found in row.reduced.items():
        if found[1] < row.segmenter[1] - MAX_DROP:
            missed.append(
                f"{row.data}: {precision} takes {row.segmenter[1]:g} mIoU on val to {found[1]:g}"
            )
    return missed
