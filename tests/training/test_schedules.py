from __future__ import annotations

import pytest

from bas_edge_training.recipe import ScheduleSection
from bas_edge_training.schedules import lr_factor, total_steps


def test_steps_replace_epochs() -> None:
    assert total_steps(ScheduleSection(epochs=3), 10) == 30
    assert total_steps(ScheduleSection(epochs=3, steps=7), 10) == 7


@pytest.mark.parametrize("kind", ["poly", "cosine"])
def test_decay_starts_at_one_and_never_rises(kind: str) -> None:
    schedule = ScheduleSection(kind=kind, warmup_steps=0)
    factors = [lr_factor(schedule, step, 50) for step in range(50)]
    assert factors[0] == 1.0
    assert factors == sorted(factors, reverse=True)
    assert 0 < factors[-1] < 0.05


def test_poly_and_cosine_half_way() -> None:
    poly = ScheduleSection(kind="poly", power=2.0, warmup_steps=0)
    assert lr_factor(poly, 5, 10) == 0.25
    assert lr_factor(ScheduleSection(kind="cosine", warmup_steps=0), 5, 10) == pytest.approx(0.5)
    assert lr_factor(ScheduleSection(kind="constant", warmup_steps=0), 5, 10) == 1.0


def test_steps_fall_after_their_epochs() -> None:
    schedule = ScheduleSection(
        kind="step", epochs=4, decay_epochs=(1, 3), decay_factor=0.5, warmup_steps=0
    )
    factors = [lr_factor(schedule, step, 12) for step in range(12)]
    assert factors == [1.0] * 3 + [0.5] * 6 + [0.25] * 3


def test_steps_keep_their_proportions_where_steps_replace_epochs() -> None:
    schedule = ScheduleSection(
        kind="step", epochs=4, steps=8, decay_epochs=(1,), decay_factor=0.5, warmup_steps=0
    )
    assert [lr_factor(schedule, step, 8) for step in range(8)] == [1.0] * 2 + [0.5] * 6


def test_warmup_is_linear_and_decay_starts_after_it() -> None:
    schedule = ScheduleSection(kind="poly", power=1.0, warmup_steps=4)
    assert [lr_factor(schedule, step, 8) for step in range(8)] == [
        0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25,
    ]  # fmt: skip


def test_warmup_takes_at_most_half_of_a_short_run() -> None:
    schedule = ScheduleSection(power=1.0, warmup_steps=100)
    assert [lr_factor(schedule, step, 4) for step in range(4)] == [0.5, 1.0, 1.0, 0.5]
    assert lr_factor(schedule, 0, 1) == 1.0
