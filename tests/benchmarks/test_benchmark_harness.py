"""It verifies first, takes turns, and says what it measured. Nothing here is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.harness import (
    Answer,
    Comparison,
    Settings,
    WorkerError,
    WrongAnswerError,
    run_worker,
)
from benchmarks.rows import SpeedRow, read_rows
from benchmarks.worker import measure

MakeCase = Callable[..., Comparison]


def test_variants_answer_first_and_then_take_turns(
    toy_case: MakeCase, spawner: type, settings: Settings
) -> None:
    spawn = spawner({"ours": 1, "theirs": 1}, {"ours": [2.0], "theirs": [8.0]})
    row = toy_case(prepare=Path.exists).measure(settings, spawn)
    turns = ["time ours", "time theirs", "time ours", "time theirs"]
    assert spawn.jobs == ["prepare", "answer ours", "answer theirs", *turns]
    assert row.verified == "equal"
    assert row.ratios["theirs"].median == 4.0


def test_a_wrong_answer_is_never_timed(
    toy_case: MakeCase, spawner: type, settings: Settings
) -> None:
    spawn = spawner({"ours": 1, "theirs": 2})
    with pytest.raises(WrongAnswerError, match="they differ"):
        toy_case().measure(settings, spawn)
    assert spawn.jobs == ["answer ours", "answer theirs"]


def test_a_failing_worker_is_quoted(toy_case: MakeCase, settings: Settings) -> None:
    said = r"(?s)^time of resize_frame/absent failed with exit code 1:.*KeyError: 'absent'"
    with pytest.raises(WorkerError, match=said):
        run_worker(toy_case(name="resize_frame"), "absent", replace(settings, block_s=0.0), "time")


def test_a_block_goes_through_all_inputs() -> None:
    seen: list[int] = []

    def session(index: int) -> Answer:
        seen.append(index)
        return Answer(np.zeros(1), {"pre": 1.0 + index})

    block = measure(session, inputs=3, block_s=0.0)
    warm_up = len(seen) - len(block.times_ms)
    assert warm_up > 0
    assert seen[warm_up:] == [0, 1, 2, 0, 1]
    assert block.stages_ms == {"pre": 2.0}


def test_a_real_case_leaves_one_row(tmp_path: Path) -> None:
    words = "run resize_frame --blocks 1 --block-s 0 --date 2024-05-06 --results"
    main([*words.split(), str(tmp_path)])  # its exit code depends on this machine's speed
    (row,) = read_rows(tmp_path)
    assert isinstance(row, SpeedRow)
    assert row.verified.startswith("same bytes")
    assert row.provenance.date == "2024-05-06"
    assert row.provenance.command.endswith("run resize_frame --blocks 1 --block-s 0")
    assert row.provenance.conditions["versions"]["numpy"] == np.__version__
