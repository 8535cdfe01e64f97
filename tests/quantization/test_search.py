"""The search for layers that must return to float."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bas_edge.quantization.int8 import merit
from bas_edge.quantization.report import BoundCheck, MethodResult
from bas_edge.quantization.sensitivity import search

LAYERS = [f"layer{n}" for n in range(29)]


def loss(value: float) -> tuple[BoundCheck, ...]:
    return (
        BoundCheck(metric="MaxBoxAccV2", reference=90.0, value=90 - value, loss=value, limit=1),
    )


@given(st.integers(1, 60), st.data())
def test_it_finds_the_fewest_layers(count: int, data: st.DataObject) -> None:
    layers = [f"layer{n}" for n in range(count)]
    needed = data.draw(st.integers(1, count))  # all of them in float is no int8 engine
    seen: list[int] = []

    def check(keep: tuple[str, ...]) -> tuple[BoundCheck, ...]:
        assert list(keep) == layers[: len(keep)]
        seen.append(len(keep))
        return loss(0.5 if len(keep) >= needed else 2.0)

    kept, steps = search(layers, check, budget_s=3600)
    assert kept == (tuple(layers[:needed]) if needed < count else None)
    assert [step.nodes_in_float for step in steps] == seen
    assert len(set(seen)) == len(seen) <= 2 * count.bit_length()


def test_without_time_nothing_is_tried() -> None:
    def check(keep: tuple[str, ...]) -> tuple[BoundCheck, ...]:
        raise AssertionError(keep)

    assert search(LAYERS, check, budget_s=0) == (None, ())


def test_what_was_found_when_the_time_is_over_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    kept, steps = search(LAYERS, lambda keep: loss(0.5 if len(keep) >= 3 else 2.0), budget_s=8.5)
    assert [step.nodes_in_float for step in steps] == [1, 2, 4]
    assert kept == tuple(LAYERS[:4])
    assert [step.held for step in steps] == [False, False, True]


def tried(lost: float, error: float, held: bool = True) -> MethodResult:
    """A method that lost so many points, ± 0.4, with raw errors of this size."""
    check = BoundCheck(
        metric="Top-1 Loc", reference=90, value=90 - lost, loss=lost, limit=1, standard_error=0.4
    )
    return MethodResult(
        method="mse",
        checks=(check,),
        held=held,
        map_error=error,
        logit_error=error,
        chosen=False,
        seconds=0,
    )


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (tried(0.5, 0.01), tried(-0.3, 0.05)),  # both may be luck: raw errors decide
        (tried(0.1, 0.05), tried(0.95, 0.01)),  # more than two standard errors are no luck
        (tried(0.9, 0.05), tried(0.0, 0.01, held=False)),  # the bound first
    ],
)
def test_methods_are_told_apart_by_what_is_no_luck(
    better: MethodResult, worse: MethodResult
) -> None:
    assert merit(better) < merit(worse)
