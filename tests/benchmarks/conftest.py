"""A toy case whose worker processes never run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.harness import Comparison, Settings, WrongAnswerError
from benchmarks.rows import Provenance, SpeedRow


class Spawner:
    """Stands in for worker processes and writes down in which order they ran."""

    def __init__(
        self, answers: Mapping[str, int], times_ms: Mapping[str, list[float]] | None = None
    ) -> None:
        self.answers, self.times_ms = answers, times_ms or {}
        self.jobs: list[str] = []

    def __call__(self, case: Comparison, variant: str, settings: Settings, job: str) -> str:
        self.jobs.append(f"{job} {variant}".strip())
        if job == "answer":
            path = harness.answer_path(settings.work, case.name, variant)
            np.save(path, np.array([self.answers[variant]]))
        if job != "time":
            return ""
        return "chatter\n" + json.dumps({"times_ms": self.times_ms[variant], "stages_ms": {}})


def _require_equal(answers: Mapping[str, NDArray[Any]]) -> str:
    if not np.array_equal(answers["ours"], answers["theirs"]):
        raise WrongAnswerError("they differ")
    return "equal"


@pytest.fixture
def spawner() -> type[Spawner]:
    return Spawner


@pytest.fixture
def provenance() -> Provenance:
    return Provenance(
        date="2024-01-02T03:04:05Z",
        commit="abc",
        command="python -m benchmarks run toy",
        conditions={"cpu": "toy", "cores_usable": 2},
    )


@pytest.fixture
def settings(provenance: Provenance, tmp_path: Path) -> Settings:
    return Settings(provenance=provenance, work=tmp_path, blocks=2)


@pytest.fixture
def toy_case() -> Callable[..., Comparison]:
    """Makes a case with the variants "ours" and "theirs"; arguments replace its fields."""

    def make(**changes: Any) -> Comparison:
        fields: dict[str, Any] = {
            "name": "toy",
            "summary": "a case for tests",
            "variants": {"ours": None, "theirs": None},
            "agree": _require_equal,
            "inputs": 1,
            "threads": 1,
            "targets": {"theirs": 3.0},
        }
        return Comparison(**{**fields, **changes})

    return make


@pytest.fixture
def speed_row(toy_case: Callable[..., Comparison], settings: Settings) -> SpeedRow:
    """Ours 2 ms, theirs 8 ms, two blocks."""
    spawn = Spawner({"ours": 1, "theirs": 1}, {"ours": [1.0, 2.0, 3.0], "theirs": [8.0]})
    return toy_case().measure(settings, spawn)
