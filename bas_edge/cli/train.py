"""`bas-edge train`: labelled images become a run folder with a checkpoint."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bas_edge._require import require
from bas_edge.cli.launched import told_once
from bas_edge.cli.options import Json
from bas_edge.cli.trained import tell_trained
from bas_edge.errors import InputError

__all__ = ["Task", "command"]


class Task(str, Enum):
    """How many labels an image has."""

    localization = "localization"
    segmentation = "segmentation"


def command(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder with one subfolder a class, a CSV (path,label,…), or a published set; "
            "with --task segmentation a VOC, COCO or index folder.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The run folder. Default: runs/ and DATA's name."),
    ] = None,
    task: Annotated[
        Task,
        typer.Option("--task", help="segmentation: images have several labels each."),
    ] = Task.localization,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="An installed recipe's name, or a .toml file.")
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option("--pretrained", help="Backbone weights: a path, or URL#sha256=…"),
    ] = None,
    qat: Annotated[
        Path | None,
        typer.Option(
            "--qat",
            metavar="CHECKPOINT",
            help="Finetune this checkpoint or run folder for int8, rounding as its engine will.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Which part of DATA to train on, where it has several."),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option("--validation", help="Labelled images to validate on, not a part of DATA."),
    ] = None,
    validation_split: Annotated[
        str | None, typer.Option("--validation-split", help="Which part of the --validation set.")
    ] = None,
    background: Annotated[
        Path | None,
        typer.Option("--background", help="A folder of images without any object."),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of the recipe's.")] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same weights on every run; slower.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Threads that read images.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Any key of the recipe, such as model.architecture=resnet50; repeat.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output.")] = (
        False
    ),
    auto_resume: Annotated[
        bool,
        typer.Option(
            "--auto-resume",
            help="As --resume, but begin where nothing was saved, and do nothing where it is "
            "finished: one command for torchrun --max-restarts and job queues.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in --output.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Train a localizer, or the first stage of a segmenter, from image labels alone.

    On several GPUs or processes: torchrun --nproc-per-node 2 -m bas_edge.cli train DATA ...
    """
    for module in ("torch", "safetensors"):
        require(module, extra="train", purpose="Training")
    from bas_edge_training.progress import ConsoleReporter

    several = task is Task.segmentation
    if several:
        _refuse_single(
            {
                "--qat": qat,
                "--validation": validation,
                "--validation-split": validation_split,
                "--background": background,
            }
        )
    short = {
        "schedule.epochs": epochs,
        "training.seed": seed,
        "training.deterministic": "true" if deterministic else None,
        "machine.workers": workers,
    }
    output = output or Path("runs") / (data.stem or "run")
    changed = [
        *(f"{key}={value}" for key, value in short.items() if value is not None),
        *(overrides or ()),
    ]
    with told_once():
        if several:
            from bas_edge_training.segmentation.bas_training import train_multi_label

            result = train_multi_label(
                data,
                output,
                recipe,
                split=split or "train",
                pretrained=pretrained,
                overrides=changed,
                resume="auto" if auto_resume else resume,
                overwrite=overwrite,
                reporter=ConsoleReporter(),
            )
        else:
            from bas_edge_training import train

            result = train(
                data,
                output,
                recipe,
                pretrained=pretrained,
                qat=qat,
                split=split,
                validation=validation,
                validation_split=validation_split,
                background=background,
                overrides=changed,
                resume="auto" if auto_resume else resume,
                overwrite=overwrite,
                reporter=ConsoleReporter(),
            )
    tell_trained(result, as_json=json_output)


def _refuse_single(given: dict[str, object]) -> None:
    """Refuse options that are for images with one label each."""
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{name} is not for --task segmentation.", hint="Leave it out.")
