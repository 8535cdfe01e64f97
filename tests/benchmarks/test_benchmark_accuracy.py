"""Agreement with the eager model, and the accuracy table, on maps small enough to count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from bas_edge.engine.manifest import ThresholdPolicy
from benchmarks.accuracy import accuracy_rows, shipped_row
from benchmarks.eager import EagerResult, fraction_of_range
from benchmarks.parity_eager import compare_image
from benchmarks.rows import Provenance

WHOLE, LEFT = (0.0, 0.0, 4.0, 4.0), (0.0, 0.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("edge", "box", "logits", "verdict"),
    [
        (0.5 - 1e-6, WHOLE, (3, 2, 1), "same"),
        (0.5 - 1e-6, LEFT, (3, 2, 1), "at the cut"),
        (0.3, LEFT, (3, 2, 1), "unexplained"),
        (0.3, LEFT, (3, 2, 2), "class tie"),
        (0.5 + 2e-6, LEFT, (3, 2, 1), "unexplained"),  # the masks agree, so the boxes should
    ],
)
def test_every_differing_box_needs_a_reason(
    edge: float, box: tuple[float, float, float, float], logits: tuple[int, ...], verdict: str
) -> None:
    """Both maps are cut at 0.5; the last column is just above it in the eager map."""
    theirs = np.ones((4, 4), np.float32)
    theirs[0, 0] = 0.0
    ours = theirs.copy()
    theirs[:, 3], ours[:, 3] = 0.5 + 2e-6, edge
    result = compare_image(
        box,
        ours,
        EagerResult(WHOLE, theirs, np.array(logits, np.float32), {}),
        size=(4, 4),
        threshold=ThresholdPolicy(rule="fixed", value=0.5),
        top_k=2,
    )
    assert result.verdict == verdict


def test_the_mean_rule_is_a_fraction_of_the_range_too() -> None:
    foreground = np.array([[1, 1], [1, 5]], np.float32)  # normalised mean 0.25
    assert fraction_of_range(foreground, ThresholdPolicy(rule="mean", value=1.5)) == 0.375
    assert fraction_of_range(foreground, ThresholdPolicy(rule="fixed", value=0.2)) == 0.2


def test_rows_of_an_engine(
    tmp_path: Path, provenance: Provenance, graphs: ModuleType, tiny_onnx: Callable[..., Path]
) -> None:
    engine = tiny_onnx(tmp_path / "tiny.onnx", threshold=ThresholdPolicy(rule="fixed", value=0.05))
    rows = ["path,label,class_name,x0,y0,x1,y1"]
    for n, colour in enumerate(((255, 0, 0), (0, 255, 0))):
        frame = graphs.coloured_frame((64, 64), (8, 8, 40, 40), colour)
        Image.fromarray(frame).save(tmp_path / f"{n}.png")
        rows.append(f"{n}.png,0,a,8,8,40,40")
    (tmp_path / "val.csv").write_text("\n".join(rows) + "\n")
    best, shipped, centred = accuracy_rows(engine, tmp_path / "val.csv", provenance, threads=1)
    assert {row.case for row in (best, shipped, centred)} == {"accuracy"}
    assert {row.model for row in (best, shipped, centred)} == {"tiny.onnx"}
    assert (best.method, best.threshold) == ("bas-edge", "oracle")
    assert (shipped.method, shipped.threshold, shipped.cut) == ("bas-edge", "shipped", "fixed 0.05")
    assert (centred.method, centred.threshold) == ("centred box", "oracle")
    for row in (best, shipped):
        assert (row.metrics["GT-known"], row.metrics["Top-1 Loc"]) == (100.0, 50.0)
        assert row.metrics["Top-1 cls"] == 50.0
    assert shipped_row(engine, tmp_path / "val.csv", provenance, threads=1) == shipped
