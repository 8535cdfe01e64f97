"""`bas-edge import-checkpoint`: a checkpoint that BAS's authors published becomes one of ours."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bas_edge._require import require
from bas_edge.cli.options import Json
from bas_edge.cli.output import print_json, print_rows
from bas_edge.errors import InputError

__all__ = ["Release", "Task", "command"]


class Task(str, Enum):
    """What the checkpoint was trained for."""

    localization = "localization"
    segmentation = "segmentation"


class Release(str, Enum):
    """Which of the two published code bases wrote it."""

    bas = "bas"
    bas_extension = "bas-extension"


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The published .pth.tar file.")],
    arch: Annotated[
        str, typer.Option("--arch", help="vgg16, resnet50, inception_v3 or mobilenet_v1.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The run folder. Default: FILE's name beside it."),
    ] = None,
    task: Annotated[Task, typer.Option("--task", help="What it was trained for.")] = (
        Task.localization
    ),
    release: Annotated[
        Release | None,
        typer.Option("--release", help="Whose file it is. Default: what the file says."),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option("--classes", help="A text file with a class name a line, in label order."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="What it was trained by, such as cub_vgg16_published."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a checkpoint that is there.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Read a published checkpoint of BAS or BAS-Extension and write a run folder of our own."""
    for module in ("torch", "safetensors"):
        require(module, extra="train", purpose="Importing a checkpoint")
    from bas_edge_training import import_checkpoint

    report = import_checkpoint(
        file,
        output or file.with_name(file.name.partition(".")[0]),
        architecture=arch,
        task=task.value,
        release=None if release is None else release.value,
        classes=None if classes is None else _lines(classes),
        recipe=recipe,
        overwrite=overwrite,
    )
    if json_output:
        print_json({key: str(v) if isinstance(v, Path) else v for key, v in asdict(report).items()})
        return
    print_rows(
        [
            ("checkpoint", str(report.checkpoint)),
            ("from", f"{report.source} ({report.release}, epoch {report.epoch or 'unknown'})"),
            ("network", f"{report.architecture} for {report.task}, {report.classes} classes"),
            ("tensors", f"{report.tensors}, and {report.copies} that only repeat others"),
        ]
    )
    print(f"\nNext:\n  {report.next_command}")


def _lines(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"Cannot read the class names {path}: {reason}.") from None
    return [name for name in names if name]
