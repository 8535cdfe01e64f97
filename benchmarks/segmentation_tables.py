"""Segmentation rows as a table."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .segmentation_rows import SegmentationRow
from .table_text import measured, newest, table

__all__ = ["segmentation_line", "segmentation_table"]


def segmentation_table(rows: Sequence[SegmentationRow]) -> str:
    """A line for each stage of each run."""
    rows = newest(rows)
    lines = []
    for row in rows:
        train, held = (f"{count} images" for count in row.images)
        for what, images, found in (
            ("background everywhere", f"train, {train}", (row.background[0], None)),
            ("seeds", f"train, {train}", row.seeds),
            ("after the random walk", f"train, {train}", row.walked),
            *_at_half(row, train),
            ("segmenter, engine", f"train, {train}", (row.segmenter[0], None)),
            *_reduced(row, 0, f"train, {train}"),
            ("background everywhere", f"val, {held}", (row.background[1], None)),
            ("segmenter, engine", f"val, {held}", (row.segmenter[1], None)),
            *_reduced(row, 1, f"val, {held}"),
        ):
            figures = [f"{value:.1f}" if value is not None else "–" for value in found]
            lines.append([row.data, row.model, what, images, *figures])
    headers = ["data", "model", "masks", "images", "mIoU", "at the best threshold"]
    training = dict.fromkeys(f"- {row.model}: {row.training}." for row in rows)
    return "\n\n".join([table(headers, lines), *(["\n".join(training)] if rows else []),
                        *measured(rows)])  # fmt: skip


def _at_half(row: SegmentationRow, train: str) -> list[tuple[str, str, tuple[float, None]]]:
    """What the fixed threshold would have given, of rows that have another."""
    if row.walked_at_half is msgspec.UNSET:
        return []
    return [("the same, cut at 0.5", f"train, {train}", (row.walked_at_half, None))]


def _reduced(
    row: SegmentationRow, split: int, images: str
) -> list[tuple[str, str, tuple[float, None]]]:
    """The engines of other precisions on training images (0) or "val" (1)."""
    return [
        (f"segmenter, {precision} engine", images, (found[split], None))
        for precision, found in row.reduced.items()
    ]


def segmentation_line(row: SegmentationRow) -> str:
    """One line for the terminal."""
    return (
        f"seeds {row.seeds[0]:g}, after the walk {row.walked[0]:g}, segmenter "
        f"{row.segmenter[0]:g} on train and {row.segmenter[1]:g} on val"
        + "".join(f", {precision} {on[1]:g} on val" for precision, on in row.reduced.items())
    )
