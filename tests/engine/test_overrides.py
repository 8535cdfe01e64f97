"""Values set by hand, kept in an engine beside what was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bas_edge import Localizer, build_engine, open_engine
from bas_edge.cli import main
from bas_edge.engine.overrides import save_overrides
from bas_edge.errors import InputError


@pytest.fixture
def engine(tiny_onnx: Callable[..., Path], tmp_path: Path) -> Path:
    return build_engine(tiny_onnx(tmp_path / "a.onnx"), tmp_path / "a.engine").path


def test_a_localizer_starts_with_them_and_the_manifest_keeps_its_own(engine: Path) -> None:
    own = open_engine(engine).manifest
    save_overrides(engine, threshold=0.25, top_k=2, min_score=0.5)
    with Localizer(engine) as localizer:
        assert localizer.threshold.value == 0.25
        assert (localizer.top_k, localizer.min_score) == (2, 0.5)
        assert localizer.manifest.threshold == own.threshold
    with Localizer(engine, threshold=0.75, min_score=0.0) as localizer:  # what is asked for wins
        assert (localizer.threshold.value, localizer.min_score) == (0.75, 0.0)


def test_without_values_they_are_gone(engine: Path) -> None:
    own = open_engine(engine).manifest
    save_overrides(engine, threshold=0.25)
    save_overrides(engine)
    with Localizer(engine) as localizer:
        assert localizer.threshold == own.threshold
    assert open_engine(engine).manifest == own


def test_an_override_of_zero_is_one(engine: Path) -> None:
    save_overrides(engine, threshold=0.0, min_score=0.0)
    with Localizer(engine) as localizer:
        assert (localizer.threshold.value, localizer.min_score) == (0.0, 0.0)


def test_inspect_shows_both(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_overrides(engine, threshold=0.25, min_score=0.5)
    assert main(["inspect", str(engine)]) == 0
    shown = capsys.readouterr().out
    assert "threshold 0.25, min score 0.5" in shown
    assert "in use instead" in shown


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": 1.5}, "the override of threshold is 1.5, but must be 0 to 1"),
        ({"min_score": -0.1}, "the override of min_score is -0.1, but must be 0 to 1"),
        ({"top_k": 9}, "the override of top_k is 9, but must be 1 to 3"),
        ({"top_k": 0}, "the override of top_k is 0, but must be 1 to 3"),
    ],
)
def test_values_out_of_range(engine: Path, values: dict[str, float], message: str) -> None:
    before = open_engine(engine).manifest
    with pytest.raises(InputError, match=message):
        save_overrides(engine, **values)
    assert open_engine(engine).manifest == before


def test_a_bare_onnx_has_no_place_for_them(tiny_onnx: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a bare ONNX file"):
        save_overrides(tiny_onnx(tmp_path / "a.onnx"), threshold=0.5)


def test_a_clone_may_be_tuned_otherwise(engine: Path) -> None:
    with Localizer(engine) as localizer, localizer.clone(threshold=0.9, min_score=1.0) as twin:
        assert (twin.threshold.value, twin.min_score, twin.top_k) == (0.9, 1.0, localizer.top_k)
        assert localizer.threshold.value != 0.9
        with twin.clone() as third:
            assert third.threshold.value == 0.9
        with pytest.raises(InputError, match="top_k is 9"):
            localizer.clone(top_k=9)
