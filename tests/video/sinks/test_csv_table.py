"""The table: a fixed header, quoting that spreadsheets read, and gaps that show."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from full_disk import full_disk
from stream_results import descriptors, ended, result

from bas_edge.errors import BasEdgeError, InputError
from bas_edge.video import Csv
from bas_edge.video.sinks.csv_table import COLUMNS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sinks.md").read_text(encoding="utf-8")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, strict=True)
        rows = list(reader)
        assert tuple(reader.fieldnames or ()) == COLUMNS
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


def test_a_row_holds_the_result_and_the_gaps(tmp_path: Path) -> None:
    sink = Csv(tmp_path / "a.csv")
    sink.write(result(7, 2.5, dropped=3, gap_s=1.25, box=(1.0, 2.5, 30.125, 40.0)))
    sink.event(ended())
    (row,) = read(tmp_path / "a.csv")  # at once
    sink.close(complete=True)
    assert row == {
        "stream": "door",
        "frame": "7",
        "time_s": "2.5",
        "captured_at": "2026-11-22T04:05:09.289Z",
        "age_ms": "3.25",
        "dropped": "3",
        "gap_s": "1.25",
        "found": "true",
        "label": "1",
        "class_name": "wren",
        "score": "0.75",
        "area": "",
        "x0": "1.0",
        "y0": "2.5",
        "x1": "30.125",
        "y1": "40.0",
        "width": "64",
        "height": "48",
        "total_ms": "3.5",
    }


@pytest.mark.parametrize("name", ["a, b", 'say "wren"', "two\nlines", "鳥", "; | \t"])
def test_any_name_is_one_cell(tmp_path: Path, name: str) -> None:
    sink = Csv(tmp_path / "a.csv")
    sink.write(result(stream=name, class_name=name))
    sink.close(complete=True)
    (row,) = read(tmp_path / "a.csv")
    assert row["stream"] == row["class_name"] == name


def test_a_restart_appends_without_a_second_header(tmp_path: Path) -> None:
    before = descriptors()
    for index in range(3):
        sink = Csv(tmp_path / "a.csv")
        sink.write(result(index))
        sink.close(complete=False)
        with (tmp_path / "a.csv").open("a") as file:
            file.write("door,99,torn")
    assert descriptors() == before
    sink = Csv(tmp_path / "a.csv")
    sink.write(result(3))
    sink.close(complete=True)
    assert [row["frame"] for row in read(tmp_path / "a.csv")] == ["0", "1", "2", "3"]


def test_a_full_table_is_turned_over_with_its_header(tmp_path: Path) -> None:
    sink = Csv(tmp_path / "a.csv", max_bytes=300, keep=1)
    for index in range(9):
        sink.write(result(index))
    sink.close(complete=True)
    rows = read(tmp_path / "a.1.csv") + read(tmp_path / "a.csv")
    assert [int(row["frame"]) for row in rows] == list(range(9))[-len(rows) :]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.1.csv", "a.csv"]


@pytest.mark.parametrize(
    "content", [b"path,label\nx.jpg,1\n", b"path,label", b"stream,frames", b"stream\ndoor"]
)
def test_a_table_with_other_columns_is_not_touched(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match="holds something else than a table of the columns stream"):
        Csv(tmp_path / "a.csv").write(result())
    assert (tmp_path / "a.csv").read_bytes() == content


HEADER = ",".join(COLUMNS).encode()


@pytest.mark.parametrize("before", [b"", HEADER[:9], HEADER, HEADER + b"\n", HEADER + b"\r\n"])
def test_a_header_that_was_torn_is_written_again(tmp_path: Path, before: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(before)
    sink = Csv(tmp_path / "a.csv")
    sink.write(result(5))
    sink.close(complete=True)
    assert [row["frame"] for row in read(tmp_path / "a.csv")] == ["5"]


def test_a_row_that_lacks_only_its_newline_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for index in range(2):
        sink = Csv(path)
        sink.write(result(index, stream="a, b"))
        sink.close(complete=True)
        path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    sink = Csv(path)
    sink.write(result(2))
    sink.close(complete=True)
    assert [row["frame"] for row in read(path)] == ["0", "1", "2"]


def test_a_full_disk_costs_rows_and_tears_none(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    sink = Csv(path)
    with full_disk(20):
        sink.write(result(0))  # not even the header
    sink.write(result(1))
    with full_disk(path.stat().st_size + 20):
        sink.write(result(2))
        assert "too large" in sink.problem
    sink.write(result(3))
    assert (sink.problem, sink.dropped) == ("", 2)
    assert [row["frame"] for row in read(path)] == ["1", "3"]
    with pytest.raises(BasEdgeError, match="2 results lost, the last because"):
        sink.close(complete=True)


def test_the_page_names_every_column() -> None:
    for column in COLUMNS:
        assert f"`{column}`" in PAGE
