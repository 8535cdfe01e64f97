"""BAS against training-free methods on the same checkpoint: the rows of `bas-edge compare`.

    python -m benchmarks.methods --checkpoint runs/birds --data val.csv --images train.csv

Protocol "bas", maps of the image's label for methods that show one class. Label-free thresholds
are measured on `--images`, which are not those of `--data`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from bas_edge.evaluation_report import CutScore, LocalizationReport
from bas_edge.metrics.protocols import IOU_LEVELS
from bas_edge_training.comparison import Comparison, compare
from bas_edge_training.comparison.report import MethodReport

from .__main__ import provenance
from .rows import RESULTS, AccuracyRow, Provenance, append_row
from .tables import row_line

__all__ = ["LABEL_FREE", "data_name", "main", "method_rows"]

LABEL_FREE = "label-free"

METHODS = "bas,cam,gradcam,layercam,eigencam,gradcam@deep,layercam@deep,eigencam@deep"


def data_name(data: Path) -> str:
    """A split as tables call it, such as "cub50/val.csv"."""
    return f"{data.parent.name}/{data.name}"


def method_rows(
    found: Comparison, given: Provenance, *, data: str, model: str, training: str = ""
) -> list[AccuracyRow]:
    """Two rows for each method, and the centred box.

    Raises:
        ValueError: The images have no boxes, or some could not be read.
    """
    if found.skipped or not found.has_boxes:
        raise ValueError(f"rows need boxes and every image; {len(found.skipped)} were skipped")
    return [
        AccuracyRow(
            case="methods",
            provenance=given,
            data=data,
            images=found.images,
            model=model,
            method=method,
            threshold=threshold,
            cut=cut,
            metrics={name: round(value, 2) for name, value in metrics.items()},
            training=training,
        )
        for method, threshold, cut, metrics in _figures(found)
    ]


def _figures(found: Comparison) -> Iterator[tuple[str, str, str, dict[str, float]]]:
    """(method, who chose the cut, the cut, metrics)."""
    centre = None
    for each in found.methods:
        report = each.localization
        assert report is not None
        best = {level: one.accuracy for level, one in report.max_box_acc_v2.by_iou.items()}
        shipped = report.stored
        yield each.title, "oracle", *_row(each, report.oracle, best)
        yield each.title, LABEL_FREE, *_row(each, shipped, shipped.box.by_iou)
        centre = _centred(report)
    if centre is not None:
        yield "centred box", "oracle", *centre


def _row(
    method: MethodReport, cut: CutScore, by_iou: dict[str, float]
) -> tuple[str, dict[str, float]]:
    metrics = {
        "GT-known": cut.localization.gt_known,
        "Top-1 Loc": cut.localization.top1_loc,
        **_by_level(by_iou),
        "Top-1 cls": method.classification.top1,
    }
    return f"{cut.threshold.rule} {cut.threshold.value:g}", metrics


def _centred(report: LocalizationReport) -> tuple[str, dict[str, float]]:
    box = report.centre_box
    metrics = {"GT-known": box.by_iou["0.5"], **_by_level(box.by_iou)}
    return f"{100 * box.side:.0f} % of each side", metrics


def _by_level(by_iou: dict[str, float]) -> dict[str, float]:
    levels = {f"IoU {level}": by_iou[str(level)] for level in IOU_LEVELS}
    return {"MaxBoxAccV2": sum(levels.values()) / len(levels), **levels}


def main() -> int:
    """Append the rows and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="CSV with boxes")
    parser.add_argument("--images", type=Path, required=True, help="for the label-free thresholds")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--limit", type=int, help="only so many images, and no row is written")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--training", default="", help="how it was trained, for the table's notes")
    parser.add_argument("--sheet", type=Path, help="also draw the maps side by side")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = compare(
        options.data,
        options.checkpoint,
        methods=options.methods.split(","),
        images=options.images,
        limit=options.limit,
        device=options.device,
        progress=lambda done, total: print(f"\r{done} of {total}", end="", file=sys.stderr),
    )
    print(file=sys.stderr)
    if options.sheet is not None:
        found.save_sheet(options.sheet)
    given = provenance(shlex.join(["python", "-m", "benchmarks.methods", *sys.argv[1:]]))
    rows = method_rows(
        found,
        given,
        data=data_name(options.data),
        model=options.checkpoint.name,
        training=options.training,
    )
    for row in rows:
        if options.limit is None:
            append_row(row, options.results)
        print(row_line(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
