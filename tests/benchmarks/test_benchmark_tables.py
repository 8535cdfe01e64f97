"""The page shows the rows, and nothing else."""

from __future__ import annotations

import pytest

from benchmarks import tables
from benchmarks.__main__ import main
from benchmarks.cases import CASES
from benchmarks.rows import SpeedRow, read_rows


def test_the_committed_page_shows_the_committed_rows() -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    assert page == tables.page_with_rows(page, read_rows()), "python -m benchmarks render"


def test_the_committed_pictures_show_the_committed_rows() -> None:
    for path, content in tables.pictures(read_rows()).items():
        assert path.read_text(encoding="utf-8") == content, "python -m benchmarks render"


def test_the_page_speaks_of_every_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(CASES)
    page = tables.PAGE.read_text(encoding="utf-8")
    assert [name for name in CASES if f"`{name}`" not in page and f"run {name}" not in page] == []


def test_a_table_shows_the_newest_row_of_a_machine(speed_row: SpeedRow) -> None:
    page = "<!-- rows: speed -->\nold\n<!-- end of rows -->"
    shown = tables.page_with_rows(page, [speed_row, speed_row])
    line = "| `toy` | 1 | 2.00 (p90 3.00) | theirs | 8.00 (p90 8.00) | 4.0× (4.0–4.0) | ≥ 3× |"
    assert shown.count(line) == 1
    assert "old" not in shown
    assert tables.page_with_rows(shown, [speed_row]) == shown


def test_a_comparison_says_when_blocks_overlap(speed_row: SpeedRow) -> None:
    assert "+0 % (blocks overlap)" in tables.compare_table([speed_row], [speed_row])
