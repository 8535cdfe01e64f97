"""Verdicts and tables of pipelines, live cameras and soaks, from made-up figures."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.live import bound_ms
from benchmarks.rows import (
    LiveRow,
    PipelineRow,
    Provenance,
    Row,
    SoakRow,
    append_row,
    missed_targets,
    read_rows,
)
from benchmarks.stream_rows import Contest, LiveFigures
from benchmarks.tables import page_with_rows, row_line
from benchmarks.timings import Ratio


@pytest.fixture
def pipeline_row(provenance: Provenance) -> PipelineRow:
    """17 ms a frame against a loop's 34, on a floor of 16."""
    return PipelineRow(
        provenance=provenance,
        engine="toy.engine",
        precision="int8",
        video="toy.mp4",
        frame="1280 × 720",
        frames=289,
        cores=2,
        workers=2,
        encoder="libx264",
        verified="same boxes",
        wall_ms={"ours": (16.0, 17.0, 18.0), "naive": (34.0, 34.0, 34.0)},
        cpu_ms={"ours": (33.0, 33.0, 33.0), "naive": (50.0, 50.0, 50.0)},
        stages_ms={"decode": (2.0, 2.0, 2.0), "encode": (30.0, 30.0, 29.0)},
        ratio=Ratio(median=2.0, low=1.9, high=2.1),
        over_floor=Ratio(median=1.06, low=1.0, high=1.12),
        asked_ratio=1.15,
        asked_over_floor=1.15,
    )


@pytest.fixture
def live_row(provenance: Provenance) -> LiveRow:
    """100 ms of inference at 25 fps."""
    figures = LiveFigures(
        streams=1,
        decoded=250,
        results=100,
        dropped=150,
        accounted=True,
        age_ms={"p50": 120.0, "p95": 150.0},
        infer_ms={"p50": 100.0, "p95": 110.0},
    )
    return LiveRow(
        provenance=provenance,
        engine="toy.engine",
        video="toy.mp4",
        fps=25.0,
        threads=2,
        seconds=10.0,
        bound_ms=bound_ms(100.0, 25.0),
        figures=(
            figures,
            msgspec.structs.replace(figures, streams=4, age_ms={"p50": 500.0, "p95": 900.0}),
        ),
    )


@pytest.fixture
def soak_row(provenance: Provenance) -> SoakRow:
    """Two streams that keep every promise."""
    return SoakRow(
        provenance=provenance,
        engine="toy.engine",
        video="toy.mp4",
        streams=2,
        seconds=600.0,
        max_fps=10.0,
        reopened=False,
        warm_up_s=60.0,
        results=(6000, 5700),
        decoded=36000,
        dropped=24300,
        unusable=0,
        lines=11690,
        annotated=6000,
        sink_dropped=10,
        failures=(),
        rss_mib=(600.0, 603.0),
        threads=(54.0, 54.0),
        descriptors=(23.0, 22.0),
        growth_percent=0.5,
        slope_kib_per_minute=341.3,
        rss_peak_mib=610.0,
        unfairness_percent=5.0,
        left={"threads": 0, "descriptors": 0},
        samples=((0.0, 300.0, 40, 20), (599.0, 603.0, 54, 22)),
        contest=Contest(seconds=30.0, offered=(3000, 6000), results=(1000, 950)),
    )


def test_a_pipeline_that_keeps_up(pipeline_row: PipelineRow) -> None:
    assert missed_targets(pipeline_row) == []
    page = page_with_rows("<!-- rows: pipeline -->\n<!-- end of rows -->", [pipeline_row])
    assert (
        "| toy.engine | toy.mp4 | 1280 × 720 | 2 | 17.0 (58.8 frames/s) | 34.0 (29.4 frames/s) | "
        "2.00× (1.90–2.10) | ≥ 1.15× | 16.0 | 1.06× (1.00–1.12) | ≤ 1.15× |"
    ) in page
    assert "| toy.engine | 2.00 | 30.0 | 32.0 | 33.0 | 50.0 |" in page
    assert "- toy.engine: same boxes; 2 workers, libx264." in page


def test_a_pipeline_that_is_slow(pipeline_row: PipelineRow) -> None:
    ratio = Ratio(median=1.1, low=1.0, high=1.2)
    slow = msgspec.structs.replace(
        pipeline_row, ratio=ratio, over_floor=msgspec.structs.replace(ratio, median=1.16)
    )
    assert missed_targets(slow) == [
        "pipeline: 1.1x over a loop, 1.15x asked",
        "pipeline: 1.16x the floor, at most 1.15x asked",
    ]
    in_float = msgspec.structs.replace(slow, precision="fp32", asked_ratio=None)
    assert len(missed_targets(in_float)) == 1


def test_the_bound_of_an_age() -> None:
    assert bound_ms(100.0, 25.0) == pytest.approx(1.5 * (100 + 40))


def test_only_one_camera_is_held_to_the_bound(live_row: LiveRow) -> None:
    assert missed_targets(live_row) == []
    page = page_with_rows("<!-- rows: live -->\n<!-- end of rows -->", [live_row])
    start = "| toy.engine | 2 | toy.mp4, 25 fps, 10 s |"
    assert f"{start} 1 | 250 | 100 | 150 | 100 / 110 | 120 / 150 | ≤ 210 ms |" in page
    assert f"{start} 4 | 250 | 100 | 150 | 100 / 110 | 500 / 900 | – |" in page


def test_a_camera_that_is_late_or_counts_wrong(live_row: LiveRow) -> None:
    late = msgspec.structs.replace(
        live_row.figures[0], age_ms={"p50": 120.0, "p95": 210.5}, accounted=False, results=0
    )
    assert missed_targets(msgspec.structs.replace(live_row, figures=(late,))) == [
        "live, 1 streams: no results",
        "live, 1 streams: drops are not counted right",
        "live: p95 of the age is 210.5 ms, at most 210 ms asked",
    ]


def test_a_soak_that_holds(soak_row: SoakRow) -> None:
    assert missed_targets(soak_row) == []
    page = page_with_rows("<!-- rows: soak -->\n<!-- end of rows -->", [soak_row])
    assert (
        "| toy.engine | toy.mp4, at most 10 fps each | 2 | 10 | 5700–6000 | "
        "5.0 % (≤ 10 %; 950–1000 of 9000) | "
        "600 → 603 | +0.50 % (< 1 %) | 610.0 | 54 → 54 | 23 → 22 | 0 threads, 0 descriptors |"
    ) in page


def test_a_soak_that_opens_the_file_again_has_a_line_of_its_own(soak_row: SoakRow) -> None:
    rows = [soak_row, msgspec.structs.replace(soak_row, reopened=True)]
    page = page_with_rows("<!-- rows: soak -->\n<!-- end of rows -->", rows)
    assert "| toy.mp4, at most 10 fps each |" in page
    assert "| toy.mp4, opened again and again, at most 10 fps each |" in page


def test_a_soak_that_leaks(soak_row: SoakRow) -> None:
    leaky = msgspec.structs.replace(
        soak_row,
        growth_percent=1.0,
        unfairness_percent=10.1,
        threads=(54.0, 55.0),
        descriptors=(23.0, 23.5),
        left={"threads": 0, "descriptors": 3},
        failures=("_Lines: No space left on device",),
        unusable=2,
        lines=11689,
    )
    assert missed_targets(leaky) == [
        "soak: memory grew by 1 %, under 1 % asked",
        "soak: threads rose from 54 to 55",
        "soak: descriptors rose from 23 to 23.5",
        "soak: 3 descriptors left at the end",
        "soak: results of streams differ by 10.1 %, 10 % asked",
        "soak: _Lines: No space left on device",
        "soak: 2 frames could not be used",
        "soak: 11689 lines of 11700 results",
    ]


def test_a_soak_in_which_the_engine_was_not_short_shows_no_fairness(soak_row: SoakRow) -> None:
    contest = Contest(seconds=30.0, offered=(1200, 6000), results=(1000, 1000))
    idle = msgspec.structs.replace(soak_row, contest=contest, unfairness_percent=0.0)
    assert missed_targets(idle) == [
        "soak: 1000 of 1200 frames of a stream that competed were localized, "
        "so the engine was not short"
    ]
    capped = msgspec.structs.replace(soak_row, contest=None)  # a row from before
    assert missed_targets(capped) == ["soak: no streams competed for the engine"]
    page = page_with_rows("<!-- rows: soak -->\n<!-- end of rows -->", [capped])
    assert "| 5700–6000 | not measured |" in page


@pytest.mark.parametrize("name", ["pipeline_row", "live_row", "soak_row"])
def test_rows_read_back_and_have_a_line(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    row: Row = request.getfixturevalue(name)
    append_row(row, tmp_path)
    assert read_rows(tmp_path) == [row]
    assert "toy" in row_line(row) or "2 streams" in row_line(row)


@pytest.mark.parametrize("table", ["pipeline", "live", "soak"])
def test_without_rows_the_page_says_so(table: str) -> None:
    page = page_with_rows(f"<!-- rows: {table} -->\n<!-- end of rows -->", [])
    assert "Not measured yet." in page
