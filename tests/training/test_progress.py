from __future__ import annotations

import io

import pytest

from bas_edge_training import progress
from bas_edge_training.progress import ConsoleReporter, RunPlan
from bas_edge_training.training_log import LogRow


def row(kind: str, step: int, val_top1: float | None = None) -> LogRow:
    return LogRow(
        row=kind, epoch=1, step=step, lr=0.1, loss=2.5, ce=1, fg=1, bas=0.5, area=0.25, empty=0,
        top1=0.75, val_top1=val_top1, val_area=val_top1, seconds=9.0,
    )  # fmt: skip


def test_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 10.0, 40.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    reporter = ConsoleReporter(stream)
    reporter.begin(RunPlan(steps=10, epochs=2, first_step=2))
    reporter.step(row("step", 3))  # after 10 s: too soon for a line
    reporter.step(row("step", 6))  # after 40 s, 4 steps: 4 more take as long
    reporter.epoch(row("epoch", 6, val_top1=0.5))
    reporter.note("skipped: [weird] name.jpg")
    reporter.end()
    assert stream.getvalue().splitlines() == [
        "epoch 1/2  step 6/10  loss 2.500  area 0.250  top-1 75 %  ETA 1 min",
        "epoch 1/2 done in step 6: loss 2.500  ce 1.000  fg 1.000  bas 0.500  area 0.250  "
        "top-1 75.0 %  val top-1 50.0 %",
        "skipped: [weird] name.jpg",
    ]


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    stream = io.StringIO()
    reporter = ConsoleReporter(stream)
    reporter.begin(RunPlan(steps=10, epochs=2, first_step=0))
    for step in range(1, 11):
        reporter.step(row("step", step))
    reporter.end()
    assert "10/10" in stream.getvalue()
    assert "ETA" in stream.getvalue()
