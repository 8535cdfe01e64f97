"""`bas-edge train-segmenter`: images with masks become a run folder with a segmenter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bas_edge._require import require
from bas_edge.cli.launched import told_once
from bas_edge.cli.options import Json
from bas_edge.cli.trained import tell_trained

__all__ = ["command"]

_FIGURES = ("loss", "area", "top1", "val_top1", "val_area")  # others are of BAS


def command(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="What `seeds` wrote, or any set with masks.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The run folder. Default: runs/DATA_segmenter."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option("--start", metavar="CHECKPOINT", help="The BAS run whose backbone it takes."),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Which part of DATA.")] = "train",
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="An installed recipe's name, or a .toml file.")
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option("--pretrained", help="Backbone weights instead: a path, or URL#sha256=…"),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Instead of the recipe's.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any key of the recipe; repeat."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output.")] = (
        False
    ),
    auto_resume: Annotated[
        bool, typer.Option("--auto-resume", help="As of `train`, for torchrun and job queues.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in --output.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Train a segmenter on masks.

    On several GPUs or processes: torchrun --nproc-per-node 2 -m bas_edge.cli train-segmenter ...
    """
    for module in ("torch", "safetensors"):
        require(module, extra="train", purpose="Training")
    from bas_edge_training.progress import ConsoleReporter
    from bas_edge_training.segmentation.segmenter_training import train_segmenter

    changed = [] if epochs is None else [f"schedule.epochs={epochs}"]
    with told_once():
        result = train_segmenter(
            data,
            output or Path("runs") / f"{data.stem or 'run'}_segmenter",
            recipe,
            split=split,
            start=start,
            pretrained=pretrained,
            overrides=[*changed, *(overrides or ())],
            resume="auto" if auto_resume else resume,
            overwrite=overwrite,
            reporter=ConsoleReporter(),
        )
    tell_trained(result, as_json=json_output, figures=_FIGURES)
