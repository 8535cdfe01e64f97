"""`bas-edge analyse`: what cross-entropy and activation say about masks of every size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bas_edge._require import require
from bas_edge.cli.options import Json
from bas_edge.cli.output import counted, print_json, print_rows, shown_progress, skipped_text
from bas_edge.errors import InputError, PartialFailureError

__all__ = ["command"]


def command(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A run folder, or its .safetensors file.")
    ],
    annotations: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A CSV with path,label,class_name,x0,y0,x1,y1, or a published set.",
        ),
    ],
    split: Annotated[
        str | None, typer.Option("--split", help="Which part of DATA, where it has several.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for analysis.json, .csv and .png. Default: analysis, none with --json.",
        ),
    ] = None,
    ratios: Annotated[
        str | None,
        typer.Option("--ratios", help="Areas of the masks, relative to the object: 0,0.5,1,2"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="So many images, drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw.")] = 0,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Curves of each class too, in the JSON and CSV.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the analysis in the output folder.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Mask each object too small to too large, and plot cross-entropy and activation over it."""
    for module in ("torch", "safetensors"):
        require(module, extra="train", purpose="Analysing a checkpoint")
    from bas_edge_training import analyse

    if output is None and not json_output:
        output = Path("analysis")
    with shown_progress("analyse") as progress:
        found = analyse(
            checkpoint,
            annotations,
            output,
            split=split,
            ratios=None if ratios is None else _numbers(ratios),
            limit=limit,
            seed=seed,
            per_class=per_class,
            overwrite=overwrite,
            progress=progress,
        )
    if json_output:
        print_json(found)
    else:
        print(f"{counted(found.curve.images, 'image')}, means ± standard errors")
        print_rows(found.table())
        print()
        print_rows((line,) for line in found.conclusions())
        for note in found.notes():
            print(f"note: {note}")
        print(f"\nWritten to {output}: analysis.json, analysis.csv, analysis.png")
    if found.unusable:
        first = found.unusable[0]
        raise PartialFailureError(
            f"{skipped_text(len(found.unusable))}; the first: {first.path}: {first.reason}",
            hint="The figures are of the images that remain.",
        )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"--ratios is '{text}', but must be numbers with commas between them.",
            hint="For example --ratios 0,0.5,1,1.5,2",
        ) from None
