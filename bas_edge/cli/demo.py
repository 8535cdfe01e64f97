"""`bas-edge demo`: the whole path, on generated images or on one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bas_edge._require import require
from bas_edge.cli.options import Json
from bas_edge.cli.output import print_json, print_rows

__all__ = ["command"]

NEEDS = (("torch", "train"), ("safetensors", "train"), ("onnx", "build"), ("av", "video"),
         ("matplotlib", "report"), ("jinja2", "report"))  # fmt: skip


def command(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A new folder, or that of an earlier demo.")
    ] = Path("demo_out"),
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Your own images, one folder a class. Default: generated."),
    ] = None,
    video: Annotated[Path | None, typer.Option("--video", help="Your own video.")] = None,
    pretrained: Annotated[
        str | None,
        typer.Option("--pretrained", help="Backbone weights: a path, or URL#sha256=…"),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="An installed recipe's name, or a .toml file.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any key of the recipe; repeat."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Train, export, build, evaluate and run a localizer, and write a report about it."""
    for module, extra in NEEDS:
        require(module, extra=extra, purpose="The demo")
    from bas_edge_training.demo import run_demo

    result = run_demo(
        output,
        data=data,
        video=video,
        pretrained=pretrained,
        recipe=recipe,
        overrides=tuple(overrides or ()),
        say=lambda line: print(f"── {line}", file=sys.stderr, flush=True),
    )
    if json_output:
        print_json(result)
        return
    for line in result.evaluation.table():
        print(line)
    print()
    files = [("report", result.report), ("engine", result.engine), ("video", result.video),
             ("pictures", result.contact_sheet)]  # fmt: skip
    print_rows((name, path) for name, path in files if path is not None)
    print_rows([("time", f"{sum(result.seconds.values()) / 60:.1f} minutes")])
    print(f"\nNext:\n  bas-edge run {result.engine} your_pictures/ clip.mp4")
