"""`bas-edge seeds`: a checkpoint and image labels become masks to train a segmenter on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bas_edge._require import require
from bas_edge.cli.launched import tell_skipped, told_once
from bas_edge.cli.options import Json
from bas_edge.cli.output import counted, print_json, print_rows, shown_progress
from bas_edge.errors import InputError

__all__ = ["command"]


def command(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="A run of `train --task segmentation`."),
    ],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A VOC, COCO or index folder with labels.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to create: an index with masks/.")
    ],
    split: Annotated[str, typer.Option("--split", help="Which part of DATA.")] = "train",
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            help="Strength, 0 to 1, above which a pixel is no background. Default: chosen without "
            "masks.",
        ),
    ] = None,
    scales: Annotated[
        str, typer.Option("--scales", help="Of the image that the network sees.")
    ] = "1.0,0.5,1.5,2.0",
    size: Annotated[
        int | None,
        typer.Option("--size", min=32, help="Longest side at scale 1. Default: of training."),
    ] = None,
    activations: Annotated[
        bool, typer.Option("--cam/--no-cam", help="Join class activation maps.")
    ] = True,
    steps: Annotated[
        int, typer.Option("--walk-steps", min=0, help="Of the random walk; 0: none.")
    ] = 30,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on where an interrupted call left --output, or begin there."
        ),
    ] = False,
    json_output: Json = False,
) -> None:
    """Make a mask of every image, and score it where the true ones are known.

    On several GPUs or processes: torchrun --nproc-per-node 2 -m bas_edge.cli seeds ...
    """
    for module in ("torch", "safetensors"):
        require(module, extra="train", purpose="Making seeds")
    from bas_edge_training.segmentation.pseudo_masks import make_masks
    from bas_edge_training.segmentation.random_walk import WalkOptions
    from bas_edge_training.team import launched_team

    with told_once(), shown_progress("seeds") as progress:
        report = make_masks(
            checkpoint,
            data,
            output,
            split=split,
            threshold=threshold,
            scales=_numbers(scales),
            size=size,
            activations=activations,
            walk=WalkOptions(steps=steps),
            device=device,
            resume=resume,
            progress=progress,
        )
    if not launched_team().leads:
        return
    if json_output:
        print_json(report.to_dict())
    else:
        masks = counted(report.images, "mask")
        print(f"Wrote {masks}, cut at {report.threshold:g}, to {report.folder}")
        if report.background:
            without = counted(report.background, "image")
            print(f"note: {without} without any class: background everywhere")
        if report.seeds is not None and report.refined is not None:
            rows = [("mIoU", f"at {report.threshold:g}", "best in hindsight")]
            for name, found in (("seeds", report.seeds), ("after the walk", report.refined)):
                best = f"{100 * found.best.miou:.1f} (at {found.best_threshold:g})"
                rows.append((name, f"{100 * found.given.miou:.1f}", best))
            print_rows(rows)
        print(f"\nNext:\n  {report.next_command}")
    tell_skipped(
        report.skipped, hint="The masks of the others are complete. Mend or remove these images."
    )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"--scales is '{text}', not numbers between commas.", hint="For example: 1.0,0.5"
        ) from None
