"""The accuracy table: an engine as it ships and at the best cut in hindsight, and a centred box.

    python -m benchmarks.accuracy --engine birds.engine --data val.csv

Measured as `bas-edge compare` does, protocol "bas". Class activation maps of its checkpoint, and
other methods: `benchmarks.methods`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import msgspec
import torch

from bas_edge_training.comparison import compare

from .__main__ import provenance
from .methods import LABEL_FREE, data_name, method_rows
from .rows import RESULTS, AccuracyRow, Provenance, append_row
from .tables import row_line

__all__ = ["accuracy_rows", "main", "shipped_row"]

_OURS, _SHIPPED = "bas-edge", "shipped"


def accuracy_rows(
    engine: Path,
    data: Path,
    given: Provenance,
    *,
    training: str = "",
    threads: int | None = None,
) -> list[AccuracyRow]:
    """All rows of one engine on one annotated split.

    `threads` is for the engine and for torch; None leaves it to them.

    Raises:
        ValueError: The images have no boxes, or some could not be read.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    found = compare(data, methods=[str(engine)], threads=threads, pictures=0)
    rows = method_rows(found, given, data=data_name(data), model=engine.name, training=training)
    methods, thresholds = {engine.name: _OURS}, {LABEL_FREE: _SHIPPED}
    return [
        msgspec.structs.replace(
            row,
            case="accuracy",
            method=methods.get(row.method, row.method),
            threshold=thresholds.get(row.threshold, row.threshold),
        )
        for row in rows
    ]


def shipped_row(
    engine: Path, data: Path, given: Provenance, *, threads: int | None = None
) -> AccuracyRow:
    """What the engine does as it ships. Raises as `accuracy_rows`."""
    rows = accuracy_rows(engine, data, given, threads=threads)
    return next(row for row in rows if row.threshold == _SHIPPED)


def main() -> int:
    """Append the rows and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="CSV with boxes")
    parser.add_argument("--training", default="", help="how it was trained, for the table's notes")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    given = provenance(shlex.join(["python", "-m", "benchmarks.accuracy", *sys.argv[1:]]))
    rows = accuracy_rows(
        options.engine, options.data, given, training=options.training, threads=options.threads
    )
    for row in rows:
        append_row(row, options.results)
        print(row_line(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
