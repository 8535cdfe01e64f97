"""`bas-edge compare`: BAS beside the CAM family, on one's own images."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bas_edge._require import require
from bas_edge.cli.destinations import claim_files
from bas_edge.cli.evaluate import Protocol
from bas_edge.cli.options import Json, Threads
from bas_edge.cli.output import (
    json_line,
    print_json,
    shown_progress,
    skipped_text,
)
from bas_edge.errors import PartialFailureError

__all__ = ["OfClass", "command"]


class OfClass(str, Enum):
    """Whose map a method for one class shows."""

    label = "label"
    best = "best"


def command(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A CSV with path,label,class_name[,x0,y0,x1,y1], a folder, or a published set.",
        ),
    ],
    split: Annotated[
        str | None, typer.Option("--split", help="Which part of DATA, where it has several.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", "-c", help="A run folder, or its .safetensors file."),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="bas, cam, gradcam, layercam, eigencam, scorecam, some with @deep; and engines.",
        ),
    ] = "bas,cam,layercam,eigencam",
    protocol: Annotated[
        Protocol, typer.Option("--protocol", help="Whose rules a box is judged by.")
    ] = Protocol.bas,
    of_class: Annotated[
        OfClass,
        typer.Option(
            "--class",
            help="Whose map is shown: the image's label, or its best class as engines do.",
        ),
    ] = OfClass.label,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", help="Unboxed images for the thresholds. Default: the training data's."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many images, evenly spread.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet", help="The side-by-side picture. Default: comparison.png, none with --json."
        ),
    ] = None,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Images of the picture.")] = 8,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The JSON report. Default: comparison.json, none with --json."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="Where methods run: auto, cpu or cuda.")
    ] = "auto",
    threads: Threads = None,
    json_output: Json = False,
) -> None:
    """Compare methods on labelled images: print a table, draw their maps side by side."""
    for module in ("torch", "safetensors"):
        require(module, extra="train", purpose="Comparing methods")
    from bas_edge_training.comparison import compare

    if not json_output:
        sheet, output = sheet or Path("comparison.png"), output or Path("comparison.json")
    claim_files(output, picture=sheet)
    with shown_progress("compare") as progress:
        result = compare(
            data,
            checkpoint,
            split=split,
            methods=[name for part in methods.split(",") if (name := part.strip())],
            protocol=protocol.value,
            of_class=of_class.value,
            images=images,
            limit=limit,
            pictures=pictures,
            device=device,
            threads=threads,
            progress=progress,
        )
    if output is not None:
        output.write_text(json_line(result) + "\n", encoding="utf-8")
    if json_output:
        print_json(result)
    else:
        print("\n".join(result.table()))
    if sheet is not None:  # last: nothing is lost where Pillow does not know its ending
        result.save_sheet(sheet)
    if not json_output:
        print(f"\nWritten to {sheet}, {output}")
    if result.skipped:
        first = result.skipped[0]
        raise PartialFailureError(
            f"{skipped_text(len(result.skipped))}; the first: {first.path}: {first.reason}",
            hint="The figures are of the images that remain.",
        )
