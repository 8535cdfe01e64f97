"""What train_processes makes of its runs. Nothing is trained here."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks import train_processes
from benchmarks.harness import WrongAnswerError
from benchmarks.rows import TrainProcessesRow, read_rows
from benchmarks.train_processes import TrainRun, agreement, images_per_s, main, write_images
from benchmarks.train_tables import train_processes_table


def test_the_first_steps_are_not_counted() -> None:
    run = TrainRun([1.0] * 5, [9.0, 10.0, 10.5, 11.0, 11.5])
    assert images_per_s(run, batch=8) == pytest.approx(16.0)


def test_runs_with_other_losses_are_a_wrong_answer() -> None:
    one, other = TrainRun([3.0, 2.5], [1, 2]), TrainRun([3.0001, 2.5], [1, 2])
    assert agreement({1: [one], 2: [other]}) == "losses of 2 steps agree within 0.0001"
    for wrong in (3.1, float("nan")):
        with pytest.raises(WrongAnswerError, match="losses differ"):
            agreement({1: [one], 2: [TrainRun([wrong, 2.5], [1, 2])]})


def test_numbers_of_processes_take_turns_and_become_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []

    def run(images: Path, output: Path, processes: int, overrides: list[str]) -> TrainRun:
        assert len(list(images.glob("*/*.jpg"))) == 16  # an epoch: what ends one is not measured
        assert "data.batch_size=4" in overrides
        turns.append(processes)
        return TrainRun([2.0] * 4, [5.0, 6.0, 6.0 + 1 / processes, 6.0 + 2 / processes])

    monkeypatch.setattr(train_processes, "run_training", run)
    words = ["--processes", "1", "2", "--blocks", "2", "--steps", "4"]
    assert main([*words, "--batch", "4", "--side", "32", "--results", str(tmp_path)]) == 0
    assert turns == [1, 2, 1, 2]
    (row,) = read_rows(tmp_path)
    assert isinstance(row, TrainProcessesRow)
    assert row.images_per_s == {1: (4.0, 4.0), 2: (8.0, 8.0)}
    assert row.first_step_s == {1: (5.0, 5.0), 2: (5.0, 5.0)}
    assert "| 2 | 8 (8–8) | 2.00× | 5 (5–5) |" in train_processes_table([row])


def test_images_are_readable(tmp_path: Path) -> None:
    write_images(tmp_path, 3, 32)
    with Image.open(tmp_path / "class 2" / "2.jpg") as image:
        assert image.size == (32, 32)
