"""`bas-edge evaluate`: how often the boxes are right, on images with known ones."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bas_edge.cli.destinations import claim_files
from bas_edge.cli.options import Backend, Engine, Json, Threads
from bas_edge.cli.output import (
    counted,
    json_line,
    print_json,
    shown_progress,
    skipped_text,
)
from bas_edge.errors import InputError, PartialFailureError

__all__ = ["Protocol", "command"]


class Protocol(str, Enum):
    """Whose rules a box is judged by."""

    bas = "bas"
    wsoleval = "wsoleval"


def command(
    engine: Engine,
    annotations: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A CSV with path,label,class_name[,x0,y0,x1,y1], a folder, or a published set; of "
            "an engine for segmentation a VOC, COCO or index folder.",
        ),
    ],
    split: Annotated[
        str | None, typer.Option("--split", help="Which part of DATA, where it has several.")
    ] = None,
    protocol: Annotated[
        Protocol, typer.Option("--protocol", help="Whose rules a box is judged by.")
    ] = Protocol.bas,
    ten_crop: Annotated[
        bool,
        typer.Option(
            "--ten-crop", help="Measure on ten crops, as BAS's paper does: 11 × the work."
        ),
    ] = False,
    background: Annotated[
        Path | None, typer.Option("--background", help="A folder of images without any object.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The JSON report. Default: evaluation.json, none with --json."
        ),
    ] = None,
    worst: Annotated[
        Path | None, typer.Option("--worst", help="A picture of the 16 worst images.")
    ] = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Store the chosen threshold and min_score in the engine."),
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            help="How many share the images, and the GPUs or the CPU's cores. Default: 1; under "
            "torchrun, as many as it was told to start.",
        ),
    ] = None,
    threads: Threads = None,
    backend: Backend = "auto",
    json_output: Json = False,
) -> None:
    """Measure an engine on labelled images: print a table, write JSON."""
    from bas_edge import evaluate, open_engine

    started = _started_by_torchrun()
    if started == 0:
        return
    processes = processes or started
    if output is None and not json_output:
        output = Path("evaluation.json")
    claim_files(output, picture=worst)
    if open_engine(engine, check_plans=False).manifest.task == "segmentation":
        _segmentation(
            engine,
            annotations,
            split or "val",
            backend,
            threads,
            processes,
            output,
            {
                "--background": background,
                "--worst": worst,
                "--update": update,
                "--protocol": protocol is not Protocol.bas,
                "--ten-crop": ten_crop,
            },
            as_json=json_output,
        )
        return
    with shown_progress("evaluate") as progress:
        result = evaluate(
            engine,
            annotations,
            split=split,
            protocol=protocol.value,
            ten_crop=ten_crop,
            backend=backend,
            threads=threads,
            processes=processes,
            background=background,
            update=update,
            progress=progress,
        )
    if output is not None:
        output.write_text(json_line(result) + "\n", encoding="utf-8")
    if worst is not None:  # last: where there are no boxes it fails, and the pass was long
        result.save_worst(worst)
    if json_output:
        print_json(result)
    else:
        print("\n".join(result.table()))
        for note in result.notes:
            print(f"note: {note}")
        written = [str(path) for path in (output, worst) if path is not None]
        print(f"\nWritten to {', '.join(written)}")
        if result.updated:
            print(f"Stored in {engine}: the chosen threshold and min_score")
    if result.skipped:
        first = result.skipped[0]
        raise PartialFailureError(
            f"{skipped_text(len(result.skipped))}; the first: {first.path}: {first.reason}",
            hint="The figures are of the images that remain.",
        )


def _started_by_torchrun() -> int:
    """How many processes it has started here for this one to stand for; 0 where another does.

    They need nothing of each other before their work is done, so the first starts its own.

    Raises:
        InputError: There are some on other machines too.
    """
    try:
        rank, size, here = (
            int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
        )
    except (KeyError, ValueError):
        return 1
    if size > here:
        raise InputError(
            f"torchrun has started {size} processes, {here} of them on this machine, but an "
            "evaluation runs on one.",
            hint="Start it on one: bas-edge evaluate --processes N",
        )
    return size if rank == 0 else 0


def _segmentation(
    engine: Path,
    data: Path,
    split: str,
    backend: str,
    threads: int | None,
    processes: int,
    output: Path | None,
    given: dict[str, object],
    *,
    as_json: bool,
) -> None:
    for name, value in given.items():
        if value:
            raise InputError(
                f"{name} is about boxes, and {engine} is an engine for segmentation.",
                hint="Leave it out.",
            )
    from bas_edge.segmentation.evaluate import evaluate_segmentation

    with shown_progress("evaluate") as progress:
        found = evaluate_segmentation(
            engine,
            data,
            split=split,
            backend=backend,
            threads=threads,
            processes=processes,
            progress=progress,
        )
    if output is not None:
        output.write_text(json_line(found.to_dict()) + "\n", encoding="utf-8")
    if as_json:
        print_json(found.to_dict())
    else:
        print("\n".join(found.accuracy.table()))
        print(f"\n{counted(found.images, 'image')}, {found.backend}; written to {output}")
    if found.skipped:
        path, reason = next(iter(found.skipped.items()))
        raise PartialFailureError(
            f"{skipped_text(len(found.skipped))}; the first: {path}: {reason}",
            hint="The figures are of the images that remain.",
        )
