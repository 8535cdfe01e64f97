"""`python -m benchmarks.analysis`: a row and its table."""

from __future__ import annotations

from pathlib import Path

import pytest

from bas_edge_training.analysis.curves import Curve, Extreme, Extremes, Mean, Point
from bas_edge_training.analysis.report import Analysis, LeftOut
from benchmarks import analysis
from benchmarks.analysis_tables import analysis_line, analysis_table
from benchmarks.rows import read_rows


def mean(value: float) -> Mean:
    return Mean(mean=value, standard_error=0.125, median=value / 2)


def extreme(settled: float | None) -> Extreme:
    return Extreme(ratio=1, value=0, settled=settled, image_ratio=mean(1))


POINTS = tuple(
    Point(
        ratio=ratio,
        area=ratio / 4,
        whole_frame=0,
        cross_entropy=mean(3 - ratio),
        foreground=mean(ratio),
        background=mean(1 - ratio),
    )
    for ratio in (0.6, 1.0)
)
FOUND = Analysis(
    checkpoint="runs/edge/checkpoint.safetensors",
    architecture="mobilenet_v1",
    head="edge",
    input_size=224,
    data="data/cub50/val.csv",
    split="",
    truth="boxes",
    limit=None,
    seed=0,
    left_out=(LeftOut(path="a.jpg", kind="not positive", reason="It scores -1."),),
    curve=Curve(
        class_name=None,
        images=5,
        top1=0.8,
        whole_cross_entropy=1,
        empty_cross_entropy=4,
        points=POINTS,
        extremes=Extremes(
            cross_entropy=extreme(0.625), foreground=extreme(0.9), background=extreme(None)
        ),
    ),
)


def test_a_run_leaves_a_row_that_the_table_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(analysis, "analyse", lambda *_, **__: FOUND)
    words = ["--checkpoint", "runs/edge", "--data", "data/cub50/val.csv"]
    assert analysis.main([*words, "--results", str(tmp_path)]) == 0
    (row,) = read_rows(tmp_path)
    assert isinstance(row, analysis.AnalysisRow)
    assert row.provenance.command.endswith("--checkpoint runs/edge --data data/cub50/val.csv")
    assert (row.top1, row.ratios, row.figures["background"].settled) == (80, (0.6, 1), None)
    shown = analysis_table([row, row])
    start = "| edge (edge head) | 5 of cub50/val.csv (left out, not positive: 1), boxes | "
    cells = (
        "cross-entropy, nats | – | – | 2.40 ± 0.12 (1.20) | – | 2.00 ± 0.12 (1.00) | – | – | 0.62"
    )
    assert shown.count(f"{start}{cells} |") == 1
    cells = "S_bg / S | – | – | 0.40 ± 0.12 (0.20) | – | 0.00 ± 0.12 (0.00) | – | – | beyond 1"
    assert shown.count(f"{start}{cells} |") == 1
    assert capsys.readouterr().out == analysis_line(row) + "\n"
    assert analysis_table([]) == "Not measured yet."
