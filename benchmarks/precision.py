"""What fp16 and int8 cost a trained model, for each library: the tables of fewer bits.

    python -m benchmarks.precision edge.onnx --calib train.csv --eval val.csv

Builds fp16, int8 for ONNX Runtime and int8 for TensorRT-RTX (its plan needs no GPU to be built) in
a temporary folder, tries every calibration method, holds each engine to its bound, and appends a
row for each. An engine that the bound refuses is a row as well, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bas_edge import build_engine, open_engine
from bas_edge.engine.manifest import Precision
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.report_file import read_report
from bas_edge.quantization.yardstick import Bound

from .__main__ import provenance
from .precision_rows import precision_row
from .rows import RESULTS, append_row
from .tables import row_line

__all__ = ["main"]

_ENGINES: dict[str, tuple[Precision, str]] = {
    "fp16": ("fp16", "tensorrt_rtx"),
    "int8-cpu": ("int8", "onnxruntime"),
    "int8-tensorrt": ("int8", "tensorrt_rtx"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where the bound refuses an engine."""
    options = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks.precision", *(arguments or sys.argv[1:])])
    job = PrecisionJob(
        calibration=options.calib,
        method=options.method,
        limit=options.limit,
        evaluation=options.eval,
        bound=Bound(max_drop=options.max_drop),
        force=True,
        threads=options.threads,
    )
    refused = 0
    for name in options.engine or list(_ENGINES):
        precision, backend = _ENGINES[name]
        with tempfile.TemporaryDirectory(prefix="bas-edge-precision-") as work:
            started = time.monotonic()
            engine = build_engine(
                options.model,
                Path(work) / "bench.engine",
                backend=backend,
                precision=precision,
                job=job,
                note=lambda sentence: print(f"note: {sentence}", file=sys.stderr),
            )
            seconds = time.monotonic() - started
            row = precision_row(
                read_report(open_engine(engine.path)),
                provenance(command),
                model=options.name or options.model.stem,
                data=f"{options.eval.parent.name}/{options.eval.name}",
                seconds=seconds,
            )
        append_row(row, options.results)
        print(row_line(row), flush=True)
        refused += row.verdict == "refused"
    return 1 if refused else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision")
    parser.add_argument("model", type=Path, help="a float32 graph from bas-edge export")
    parser.add_argument("--calib", type=Path, required=True, help="images that ranges come from")
    parser.add_argument("--eval", type=Path, required=True, help="CSV with boxes")
    parser.add_argument("--engine", action="append", choices=list(_ENGINES), help="only this one")
    parser.add_argument("--name", help="of the model in the table; default: its file's")
    parser.add_argument("--method", default="auto")
    parser.add_argument("--limit", type=int, default=200, help="calibration images")
    parser.add_argument("--max-drop", type=float, default=0.5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
