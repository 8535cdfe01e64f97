"""The curves of `bas-edge analyse`, as a row.

python -m benchmarks.analysis --checkpoint RUN --data val.csv [--limit N] [--picture FILE.png]
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from pathlib import Path

from bas_edge_training import Analysis, analyse
from bas_edge_training.analysis.curves import Mean
from bas_edge_training.analysis.picture import draw_analysis

from .__main__ import provenance
from .analysis_rows import AnalysisRow, CurveFigures
from .methods import data_name
from .rows import RESULTS, Provenance, append_row
from .tables import row_line

__all__ = ["analysis_row", "main"]


def main(argv: list[str] | None = None) -> int:
    """Measure, append the row and print it."""
    options = _parser().parse_args(argv)
    words = ["--checkpoint", str(options.checkpoint), "--data", str(options.data)]
    words += [] if options.limit is None else ["--limit", str(options.limit)]
    given = provenance(shlex.join(["python", "-m", "benchmarks.analysis", *words]))
    found = analyse(options.checkpoint, options.data, limit=options.limit)
    row = analysis_row(found, given)
    append_row(row, options.results)
    if options.picture is not None:
        draw_analysis(found, options.picture)
    print(row_line(row))
    return 0


def analysis_row(found: Analysis, given: Provenance) -> AnalysisRow:
    """The averages over all images; needs at least two of them."""
    points, extremes = found.curve.points, found.curve.extremes

    def figures(values: list[Mean], settled: float | None) -> CurveFigures:
        return CurveFigures(
            mean=tuple(round(one.mean, 4) for one in values),
            standard_error=tuple(round(one.standard_error or 0.0, 4) for one in values),
            median=tuple(round(one.median, 4) for one in values),
            settled=None if settled is None else round(settled, 4),
        )

    return AnalysisRow(
        provenance=given,
        model=Path(found.checkpoint).parent.name,
        head=found.head,
        data=data_name(Path(found.data)),
        images=found.curve.images,
        left_out=dict(Counter(one.kind for one in found.left_out)),
        truth=found.truth,
        top1=round(100 * found.curve.top1, 2),
        ratios=tuple(point.ratio for point in points),
        whole_frame=tuple(point.whole_frame for point in points),
        figures={
            "cross_entropy": figures(
                [point.cross_entropy for point in points], extremes.cross_entropy.settled
            ),
            "foreground": figures(
                [point.foreground for point in points], extremes.foreground.settled
            ),
            "background": figures(
                [point.background for point in points], extremes.background.settled
            ),
        },
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysis")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
