"""`bas-edge build-engine`: an exported graph becomes an engine folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from bas_edge.cli.options import Json
from bas_edge.cli.output import print_json

if TYPE_CHECKING:
    from bas_edge.engine.manifest import Precision

__all__ = ["command", "next_commands"]


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A graph from `export`.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The engine folder. Default: the model's name."),
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", help="Inference library that the engine is for.")
    ] = "onnxruntime",
    precision: Annotated[str, typer.Option("--precision", help="Arithmetic: fp32.")] = "fp32",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an engine of the same name.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Check an exported graph and write it as an engine folder, complete or not at all."""
    from bas_edge import build_engine

    engine = build_engine(
        model,
        output or model.with_suffix(".engine"),
        backend=backend,
        precision=cast("Precision", precision),  # build_engine refuses others by name
        overwrite=overwrite,
        command=shlex.join(["bas-edge", *sys.argv[1:]]),
    )
    if json_output:
        print_json(
            {"engine": engine.path, "manifest": engine.manifest, "next": next_commands(engine.path)}
        )
        return
    size_mb = engine.model_path.stat().st_size / 1e6
    classes = len(engine.manifest.classes)
    print(f"Wrote {engine.path} ({engine.manifest.precision}, {size_mb:.1f} MB, {classes} classes)")
    print("\nNext:")
    for line in next_commands(engine.path):
        print(f"  {line}")


def next_commands(engine: Path) -> list[str]:
    """Commands to paste once an engine exists, quoted for the shell."""
    name = shlex.quote(str(engine))
    return [
        f"bas-edge run {name} photo.jpg",
        f"bas-edge run {name} clip.mp4",
        f"bas-edge evaluate {name} val.csv",
        f"bas-edge benchmark {name}",
        f"bas-edge inspect {name}",
    ]
