"""Which rows belong together, and which engines nobody beats."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.pareto_rows import ParetoPoint, front, pareto_points
from benchmarks.rows import append_row, read_rows
from benchmarks.tables import page_with_rows, pictures


def examples(module: ModuleType) -> tuple[Any, Any, Any]:
    return module.candidate, module.accuracy_row, module.speed_row


def test_the_front_is_what_no_faster_engine_reaches(pareto_examples: ModuleType) -> None:
    def point(name: str, score: float, ms: float | None) -> ParetoPoint:
        of = pareto_examples.candidate(name)
        speed = None if ms is None else pareto_examples.speed_row(of, ms)
        return ParetoPoint(pareto_examples.accuracy_row(of, score), speed)

    points = [
        point("slow", 85.0, 40.0),
        point("beaten", 80.0, 20.0),
        point("small", 80.0, 10.0),
        point("equal", 80.0, 10.0),
        point("same time, worse", 70.0, 10.0),
        point("worst", 60.0, 50.0),
        point("not timed", 99.0, None),
    ]
    assert [each.candidate.name for each in front(points)] == ["small", "slow"]
    assert front([]) == []


def test_a_time_is_of_the_same_graph_on_the_newest_machine(
    pareto_examples: ModuleType,
) -> None:
    candidate, accuracy_row, speed_row = examples(pareto_examples)
    old, new, other = candidate(sha="old"), candidate(sha="new"), candidate(size=160)
    accuracy = [accuracy_row(old, 70.0), accuracy_row(other, 75.0), accuracy_row(new, 80.0)]
    speed = [speed_row(new, 9.0), speed_row(other, 8.0, "two"), speed_row(old, 7.0),
             speed_row(new, 10.0)]  # fmt: skip
    first, second = pareto_points(accuracy, speed)
    assert (first.candidate, first.score, first.frame_ms) == (new, 80.0, 10.0)
    assert (second.candidate, second.frame_ms) == (other, None)
    assert [each.frame_ms for each in pareto_points(accuracy, speed[:2])] == [None, 8.0]
    assert [each.frame_ms for each in pareto_points(accuracy, [])] == [None, None]


def test_rows_become_a_table_and_a_picture(tmp_path: Path, pareto_examples: ModuleType) -> None:
    candidate, accuracy_row, speed_row = examples(pareto_examples)
    page = "<!-- rows: pareto -->\nstale\n<!-- end of rows -->"
    small, large = candidate("small", 160), candidate("large")
    for row in (accuracy_row(small, 80.0), accuracy_row(large, 79.0), speed_row(small, 5.0)):
        append_row(row, tmp_path)
    rows = read_rows(tmp_path)
    shown = page_with_rows(page, rows)
    cells = "edge | 0.5 | 8 | 224"
    metrics = "90.0 | 60.0"
    assert (
        f"| **small** | {cells} | 160 | fp32 | 80.0 | {metrics} | 4.00 | 5.00 | "
        "20.0× (1.0–20.0) | 4.0 |"
    ) in shown
    assert f"| large | {cells} | 224 | fp32 | 79.0 | {metrics} | – | – | – | 4.0 |" in shown
    assert "](images/pareto.svg)" in shown
    assert "The eager paper head with 50 classes took 100 ms" in shown
    assert "stale" not in shown
    ((path, drawn),) = pictures(rows).items()
    assert path.as_posix().endswith("docs/images/pareto.svg")
    assert drawn.startswith("<svg ")


def test_without_times_there_is_a_table_and_no_picture(pareto_examples: ModuleType) -> None:
    candidate, accuracy_row, _ = examples(pareto_examples)
    rows = [accuracy_row(candidate(), 80.0)]
    page = "<!-- rows: pareto -->\n<!-- end of rows -->"
    assert "svg" not in page_with_rows(page, rows)
    assert "| 80.0 |" in page_with_rows(page, rows)
    assert pictures(rows) == {}
    assert "No rows yet." in page_with_rows(page, [])
