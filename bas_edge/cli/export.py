"""`bas-edge export`: a checkpoint becomes an ONNX graph, checked against PyTorch."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bas_edge._require import require
from bas_edge.cli.options import Json
from bas_edge.cli.output import print_json, print_rows
from bas_edge.errors import InputError

__all__ = ["Maps", "command"]


class Maps(str, Enum):
    """The form of the graph's maps."""

    auto = "auto"
    all = "all"
    selected = "selected"
    mean = "mean"


def command(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A run folder, or its .safetensors file.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The ONNX file. Default: model.onnx in the folder."),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="What computes the maps: bas; or a baseline on the same checkpoint: cam, gradcam, "
            "layercam, eigencam, eigencam@deep.",
        ),
    ] = "bas",
    maps: Annotated[
        Maps,
        typer.Option(
            "--maps",
            help="all: every class map; selected: the K best; mean: one map of all classes; "
            "auto: the cheapest that gives the same boxes.",
        ),
    ] = Maps.auto,
    k: Annotated[int | None, typer.Option("--k", help="Class maps that the graph computes.")] = (
        None
    ),
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", help="Class maps that are averaged. Default: 80; 1 of baselines."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Real images to check on. Default: the training data's."),
    ] = None,
    input_size: Annotated[
        int | None,
        typer.Option(
            "--input-size",
            help="Side of the network's input, a multiple of 16. Default: that of training.",
        ),
    ] = None,
    simplify: Annotated[
        bool, typer.Option("--simplify/--no-simplify", help="Run onnxsim on the graph.")
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file of the same name.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Write a checkpoint as an ONNX graph and check it against PyTorch on real images."""
    for module, extra in (("torch", "train"), ("safetensors", "train"), ("onnx", "build")):
        require(module, extra=extra, purpose="Exporting a checkpoint")
    from bas_edge_training import export

    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    if _is_segmenter(checkpoint):
        _export_segmenter(
            checkpoint,
            output or folder / "model.onnx",
            {
                "--maps": maps is not Maps.auto,
                "--k": k,
                "--top-k": top_k,
                "--images": images,
                "--input-size": input_size,
            },
            simplify=simplify,
            overwrite=overwrite,
            as_json=json_output,
        )
        return
    report = export(
        checkpoint,
        output or folder / "model.onnx",
        method=method,
        maps=maps.value,
        k=k,
        top_k=top_k,
        images=images,
        input_size=input_size,
        simplify=simplify,
        overwrite=overwrite,
        reporter=lambda line: print(line, file=sys.stderr),
    )
    if json_output:
        print_json(report.to_dict())
        return
    print_rows(report.rows())
    print(f"\nNext:\n  {report.next_command}")


def _is_segmenter(checkpoint: Path) -> bool:
    """Whether a file or run folder is a segmenter's; what cannot be read is told by the export."""
    from bas_edge_training.checkpoint import checkpoint_task

    return checkpoint_task(checkpoint) == "segmentation"


def _export_segmenter(
    checkpoint: Path,
    output: Path,
    given: dict[str, object],
    *,
    simplify: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    for name, value in given.items():
        if value:
            raise InputError(
                f"{name} is about class maps, and {checkpoint} is a segmenter.",
                hint="Leave it out.",
            )
    from bas_edge_training.segmentation.export_segmenter import export_segmenter

    report = export_segmenter(
        checkpoint,
        output,
        simplify=simplify,
        overwrite=overwrite,
        reporter=lambda line: print(line, file=sys.stderr),
    )
    if as_json:
        print_json(report.to_dict())
        return
    print_rows(report.rows())
    print(f"\nNext:\n  {report.next_command}")
