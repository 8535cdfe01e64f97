"""Rows of methods on one checkpoint, and where they stand on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from bas_edge_training.comparison import Comparison, compare
from benchmarks.methods import method_rows
from benchmarks.rows import Provenance
from benchmarks.tables import page_with_rows

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 0))


@pytest.fixture
def found(tmp_path: Path, graphs: ModuleType, tiny_onnx: Callable[..., Path]) -> Comparison:
    """Two engines on four images; the last one has the label of another class."""
    engines = [tiny_onnx(tmp_path / f"{maps}.onnx", maps=maps) for maps in ("all", "mean")]
    rows = ["path,label,class_name,x0,y0,x1,y1"]
    for n, colour in enumerate(COLOURS):
        box = (8, 8, 32 + 8 * n, 40)
        Image.fromarray(graphs.coloured_frame((64, 64), box, colour)).save(tmp_path / f"{n}.png")
        rows.append(",".join(map(str, (f"{n}.png", n % 3 + n // 3, "abc"[n % 3 + n // 3], *box))))
    (tmp_path / "val.csv").write_text("\n".join(rows) + "\n")
    return compare(tmp_path / "val.csv", methods=[str(path) for path in engines], threads=1)


def test_two_rows_a_method_and_the_centred_box(found: Comparison, provenance: Provenance) -> None:
    rows = method_rows(found, provenance, data="set/val.csv", model="net", training="twice")
    assert [(row.method, row.threshold) for row in rows] == [
        ("all.onnx", "oracle"), ("all.onnx", "label-free"),
        ("mean.onnx", "oracle"), ("mean.onnx", "label-free"), ("centred box", "oracle"),
    ]  # fmt: skip
    assert {(row.case, row.images, row.model, row.training) for row in rows} == {
        ("methods", 4, "net", "twice")
    }
    shipped = rows[1]
    assert shipped.cut == "fixed 0.5"
    assert (shipped.metrics["GT-known"], shipped.metrics["Top-1 Loc"]) == (100.0, 75.0)
    assert list(shipped.metrics) == [
        "GT-known", "Top-1 Loc", "MaxBoxAccV2", "IoU 0.3", "IoU 0.5", "IoU 0.7", "Top-1 cls",
    ]  # fmt: skip
    levels = [shipped.metrics[f"IoU {level}"] for level in ("0.3", "0.5", "0.7")]
    assert shipped.metrics["MaxBoxAccV2"] == pytest.approx(sum(levels) / 3, abs=0.01)
    assert "Top-1 Loc" not in rows[-1].metrics


def test_they_have_a_table_of_their_own(found: Comparison, provenance: Provenance) -> None:
    rows = method_rows(found, provenance, data="set/val.csv", model="net")
    page = "".join(
        f"<!-- rows: {name} -->\n<!-- end of rows -->\n" for name in ("accuracy", "methods")
    )
    accuracy, methods = page_with_rows(page, rows).split("<!-- rows: methods -->")
    assert "mean.onnx" not in accuracy
    assert "| set/val.csv | net | mean.onnx | label-free (fixed 0.5) | 100.0 |" in methods


def test_images_that_cannot_be_read_give_no_row(
    found: Comparison, provenance: Provenance, tmp_path: Path
) -> None:
    (tmp_path / "0.png").write_bytes(b"no image")
    left = compare(tmp_path / "val.csv", methods=[str(tmp_path / "all.onnx")], threads=1)
    with pytest.raises(ValueError, match="1 were skipped"):
        method_rows(left, provenance, data="set/val.csv", model="net")
