"""From labelled images to the accuracy table in one command.

    python -m benchmarks.train_real --data data/cub50 --recipe cub50_edge \\
        --pretrained mobilenet_v1_1.0_224.safetensors --output runs/cub50

`--data` holds train.csv (labels) and val.csv (boxes). The output folder gets the run, the ONNX
file and the engine; the accuracy rows go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from bas_edge import build_engine
from bas_edge_training import export, train
from bas_edge_training.results import TrainResult

from .__main__ import provenance
from .accuracy import accuracy_rows
from .rows import RESULTS, append_row
from .tables import row_line

__all__ = ["main"]


def main() -> int:
    """Train, export, build, evaluate."""
    options = _parser().parse_args()
    result = train(
        options.data / "train.csv",
        options.output / "run",
        options.recipe,
        pretrained=options.pretrained,
        overrides=options.set,
        resume=options.resume,
    )
    name = options.name or Path(options.recipe).stem
    onnx = options.output / f"{name}.onnx"
    export(
        result.checkpoint,
        onnx,
        maps=options.maps,
        images=options.data / "train.csv",
        overwrite=True,
    )
    engine = options.output / f"{name}.engine"
    build_engine(onnx, engine, overwrite=True)
    command = shlex.join(["python", "-m", "benchmarks.train_real", *sys.argv[1:]])
    rows = accuracy_rows(
        engine,
        options.data / "val.csv",
        provenance(command),
        training=_in_words(options.recipe, result),
    )
    for row in rows:
        append_row(row, options.results)
        print(row_line(row))
    return 0


def _in_words(recipe: str, result: TrainResult) -> str:
    return f"recipe {recipe}, {result.steps} steps, {result.seconds / 60:.0f} minutes"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_real")
    parser.add_argument("--data", type=Path, required=True, help="folder of train.csv and val.csv")
    parser.add_argument("--recipe", required=True, help="installed name, or a .toml file")
    parser.add_argument("--pretrained", help="backbone weights")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--name", help="of the engine; default: the recipe's")
    parser.add_argument("--maps", default="auto", help="form of the exported maps")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--resume", action="store_true", help="go on with an unfinished run")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
