"""Rows: what is computed from times and samples, and what is asked of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.cases.video import drift_mib, growth_mib, slope_kib_per_frame
from benchmarks.harness import Comparison, Settings
from benchmarks.rows import (
    ParityRow,
    Provenance,
    SpeedRow,
    VideoRow,
    append_row,
    missed_targets,
    ratio_of,
    read_rows,
    timing_of,
)
from benchmarks.tables import page_with_rows


def test_percentiles_are_over_all_calls_and_medians_per_block() -> None:
    timing = timing_of([[1.0, 3.0], [5.0, 7.0, 9.0]], [{"pre": 1.0}, {"pre": 3.0}])
    assert (timing.calls, timing.p50_ms, timing.p90_ms) == (5, 5.0, 8.2)
    assert timing.block_p50_ms == (2.0, 7.0)
    assert timing.stages_ms == {"pre": 2.0}


def test_ratios_pair_neighbouring_blocks() -> None:
    ours = timing_of([[1.0], [2.0], [4.0]], [])
    ratio = ratio_of(timing_of([[10.0], [10.0], [60.0]], []), ours)
    assert (ratio.median, ratio.low, ratio.high) == (10.0, 5.0, 15.0)


def test_rows_are_json_lines_that_read_back(speed_row: SpeedRow, tmp_path: Path) -> None:
    for _ in range(2):
        assert append_row(speed_row, tmp_path) == tmp_path / "speed.jsonl"
    lines = (tmp_path / "speed.jsonl").read_text().splitlines()
    assert [json.loads(line)["case"] for line in lines] == ["toy", "toy"]
    assert read_rows(tmp_path) == [speed_row, speed_row]


def test_a_line_that_is_no_row_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "speed.jsonl").write_text('{"kind": "speed"}\n')
    with pytest.raises(ValueError, match=r"speed\.jsonl.*missing required field"):
        read_rows(tmp_path)


def test_missed_speed_targets_are_sentences(
    toy_case: Callable[..., Comparison], spawner: type, settings: Settings, speed_row: SpeedRow
) -> None:
    assert missed_targets(speed_row) == []
    spawn = spawner({"ours": 1, "theirs": 1}, {"ours": [2.0], "theirs": [8.0]})
    slow = toy_case(targets={"theirs": 5.0}, limit_ms=1.5).measure(settings, spawn)
    assert missed_targets(slow) == [
        "toy: 4x over theirs, 5x asked",
        "toy: 2 ms, under 1.5 ms asked",
    ]


def test_missed_parity_targets_are_sentences(provenance: Provenance) -> None:
    row = ParityRow(
        case="parity_eager",
        provenance=provenance,
        model="toy.engine",
        data="toy.csv",
        images=200,
        same=198,
        at_the_cut=1,
        class_ties=0,
        unexplained=1,
        lowest_iou=0.5,
        largest_distance=1e-6,
    )
    assert missed_targets(row) == [
        "parity_eager: 198 of 200 boxes agree, 99.5 % asked",
        "parity_eager: 1 differing boxes are not at the cut",
    ]


def test_missed_video_targets_are_sentences(provenance: Provenance) -> None:
    row = VideoRow(
        case="video",
        provenance=provenance,
        video="toy.mp4",
        model="toy.engine",
        threads=2,
        frames=288,
        expected_frames=289,
        wall_s=1.0,
        fps=288.0,
        stages_ms={"pre": 1.0, "infer": 2.0, "post": 0.1, "total": 3.1},
        rss_mib=((0, 90.0), (50, 100.0), (287, 130.0)),
        rss_growth_mib=30.0,
        rss_drift_mib=25.0,
        rss_slope_kib_per_frame=120.0,
    )
    assert missed_targets(row) == [
        "video: 288 of 289 frames",
        "video: memory rose by 25 MiB, flat asked",
    ]
    page = "<!-- rows: video -->\n<!-- end of rows -->"
    line = "| toy.mp4 | toy.engine | 288 of 289 | 288 | 1.00 / 2.00 / 0.100 | 100 | 30 | 25 | 120 |"
    assert line in page_with_rows(page, [row])


@pytest.mark.parametrize(
    ("samples", "growth", "drift", "slope"),
    [
        ([(10, 900.0), (50, 100.0), (51, 101.0), (52, 102.0)], 2.0, 0.0, 1024.0),
        ([(50, 100.0), (60, 90.0)], 0.0, 0.0, -1024.0),
        ([(0, 100.0), (49, 400.0)], 0.0, 0.0, 0.0),
        ([(frame, 100.0 + (frame >= 120)) for frame in range(50, 200)], 1.0, 1.0, 10.19),
        # slope of a step: 6 * 70 * 80 / (150 * (150**2 - 1)) MiB
    ],
)
def test_memory_counts_from_frame_50(
    samples: list[tuple[int, float]], growth: float, drift: float, slope: float
) -> None:
    assert growth_mib(samples) == growth
    assert drift_mib(samples) == drift
    assert slope_kib_per_frame(samples) == pytest.approx(slope)
