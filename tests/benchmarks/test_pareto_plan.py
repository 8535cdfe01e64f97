"""A plan, a folder of engines, and what is wrong with other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from bas_edge.errors import InputError
from benchmarks.conditions import REPOSITORY
from benchmarks.pareto_plan import PlannedEngine, read_plan

TABLE = '[[model]]\nrun = "small"\nsizes = [160, 192]\n'


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_every_size_in_every_precision_once(tmp_path: Path) -> None:
    again = '[[model]]\nrun = "small"\nsizes = [160]\nprecisions = ["fp32", "int8"]\n'
    source = write(tmp_path / "plan.toml", f'baseline = "large"\n{TABLE}{again}')
    runs = tmp_path / "runs"
    plan = read_plan(source, runs=runs)
    assert plan.baseline == runs / "large"
    assert [engine.title for engine in plan.engines] == [
        "small 160 fp32",
        "small 192 fp32",
        "small 160 int8",
    ]
    assert {engine.run for engine in plan.engines} == {runs / "small"}
    assert read_plan(source, runs=runs, baseline=tmp_path).baseline == tmp_path


def test_the_committed_plan_can_be_read(tmp_path: Path) -> None:
    plan = read_plan(REPOSITORY / "benchmarks" / "pareto.toml", runs=tmp_path)
    assert plan.baseline == tmp_path / "paper"
    assert "edge 224 fp32" in [engine.title for engine in plan.engines]


def test_a_folder_is_measured_as_it_is(tmp_path: Path) -> None:
    """An engine goes before the graph that it was built from."""
    (tmp_path / "b.engine").mkdir()
    for name in ("a.onnx", "b.onnx", "notes.txt"):
        (tmp_path / name).touch()
    plan = read_plan(tmp_path, runs=tmp_path)
    assert plan.engines == (
        PlannedEngine("a", path=tmp_path / "a.onnx"),
        PlannedEngine("b", path=tmp_path / "b.engine"),
    )
    assert plan.baseline is None
    assert plan.engines[0].title == "a"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("baseline", "no plan of engines: "),
        ('baseline = "a"\n', "missing required field `model`"),
        (f'{TABLE}[plan]\nbaseline = "a"\n', "unknown field `plan`"),
        (f'baseline = "a"\n{TABLE}precisions = ["fp8"]\n', "Invalid enum value 'fp8'"),
        ('baseline = "a"\n[[model]]\nrun = "b"\nsizes = []\n', "length >= 1"),
    ],
)
def test_what_is_no_plan_says_why(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_plan(write(tmp_path / "plan.toml", text), runs=tmp_path)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.toml is no plan"):
        read_plan(tmp_path / "nothing.toml", runs=tmp_path)
    with pytest.raises(InputError, match="holds neither"):
        read_plan(tmp_path, runs=tmp_path)
