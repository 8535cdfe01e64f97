"""The rows of segmentation: what they are held to, and their table."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.rows import Provenance, append_row, missed_targets, read_rows
from benchmarks.segmentation_rows import SegmentationRow
from benchmarks.segmentation_tables import segmentation_table

ROW = SegmentationRow(
    provenance=Provenance(date="2026-01-01", commit="c", command="run", conditions={}),
    data="set",
    model="m.engine",
    images=(3, 2),
    seeds=(20.0, 22.0),
    walked=(24.0, 25.5),
    background=(3.0, 3.5),
    segmenter=(23.0, 10.0),
    reduced={"int8": (22.5, 9.5)},
    training="recipe, 5 steps",
)


def test_a_row_that_shows_what_it_should_misses_nothing(tmp_path: Path) -> None:
    assert missed_targets(ROW) == []
    append_row(ROW, tmp_path)
    assert read_rows(tmp_path) == [ROW]


def test_each_stage_has_to_bring_something() -> None:
    worse = msgspec.structs.replace(ROW, walked=(19.0, 22.0), segmenter=(23.0, 3.5))
    assert missed_targets(worse) == [
        "set: 19 mIoU after the walk, 20 before, as written",
        "set: 22 mIoU after the walk, 22 before, at the best threshold",
        "set: the segmenter is no better than background alone",
    ]
    none = msgspec.structs.replace(ROW, seeds=(2.0, 3.0))
    costly = msgspec.structs.replace(ROW, reduced={"int8": (23.0, 9.4)})
    assert missed_targets(costly) == ["set: int8 takes 10 mIoU on val to 9.4"]
    assert missed_targets(none) == ["set: seeds of 3 mIoU are no better than none"]


def test_the_table_has_a_line_for_each_stage() -> None:
    text = segmentation_table([ROW])
    assert "| set | m.engine | after the random walk | train, 3 images | 24.0 | 25.5 |" in text
    assert "| set | m.engine | segmenter, engine | val, 2 images | 10.0 | – |" in text
    assert "| set | m.engine | segmenter, int8 engine | val, 2 images | 9.5 | – |" in text
    assert "- m.engine: recipe, 5 steps." in text
