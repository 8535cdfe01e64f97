"""`bas-edge run`: boxes or classes on images, videos, cameras and network streams."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bas_edge.cli.options import Backend, Engine, Json, Threads
from bas_edge.cli.output import progress_bar

__all__ = ["command"]


class Policy(str, Enum):
    """What happens to frames that the engine is too slow for."""

    newest = "newest"
    oldest = "oldest"
    wait = "wait"


class Smooth(str, Enum):
    """Presets of `Smoothing`."""

    off = "off"
    light = "light"
    strong = "strong"


def command(
    engine: Engine,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Images, videos, folders, globs; rtsp:// and http:// streams, /dev/video0, "
            "csi://0 or a GStreamer pipeline.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for results.jsonl and annotated files. Default: the first of out, out-2, "
            "… that is free; with --json and without --save, nothing is written.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results in an existing --output.")
    ] = False,
    save: Annotated[
        bool | None,
        typer.Option(
            "--save/--no-save",
            "--annotate/--no-annotate",
            help="Write copies with what was found drawn. Default: of files, not of cameras.",
        ),
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option(
            "--jsonl", help="Also append every line to this file ({stream}, {date}); - is stdout."
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show what was found in a window; q ends it.")
    ] = False,
    codec: Annotated[
        str, typer.Option("--codec", help="FFmpeg encoder of annotated videos.")
    ] = "auto",
    policy: Annotated[
        Policy | None,
        typer.Option(
            "--policy",
            help="Frames that the engine is too slow for: newest (default of cameras; plays a "
            "file in real time), oldest, or wait (default of files: none is lost).",
        ),
    ] = None,
    smooth: Annotated[
        Smooth | None,
        typer.Option("--smooth", help="Steady boxes. Default: light for cameras, off for files."),
    ] = None,
    stride: Annotated[
        int, typer.Option("--stride", min=1, help="Every how many-th frame of a video.")
    ] = 1,
    max_fps: Annotated[
        float | None, typer.Option("--max-fps", help="At most so many frames a second of video.")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration", help="Only so many seconds: of a video its first, of a camera from now."
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Where maps are cut. Default: the engine's.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", help="Class maps to average. Default: the engine's.")
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", help="Class score for an object. Default: the engine's."),
    ] = None,
    max_boxes: Annotated[int, typer.Option("--max-boxes", min=1, help="Boxes a frame.")] = 1,
    threads: Threads = None,
    backend: Backend = "auto",
    device: Annotated[
        int, typer.Option("--device", min=0, help="GPU of a TensorRT backend, as CUDA counts.")
    ] = 0,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild", help="Build the engine's plan again if it does not fit this machine."
        ),
    ] = False,
    json_output: Json = False,
) -> None:
    """Localize or segment images, video frames and live streams: one JSON line each."""
    from bas_edge.cli.run_ending import Ending
    from bas_edge.cli.run_request import RunRequest
    from bas_edge.cli.run_work import work
    from bas_edge.signals import asked_to_end

    to_stdout = str(jsonl) == "-"
    request = RunRequest(
        engine=engine,
        options={
            "backend": backend,
            "threads": threads,
            "threshold": threshold,
            "top_k": top_k,
            "min_score": min_score,
            "max_boxes": max_boxes,
            "device": device,
            "rebuild": rebuild,
        },
        output=output,
        overwrite=overwrite,
        json=json_output,
        policy=None if policy is None else policy.value,
        smooth=None if smooth is None else smooth.value,
        stride=stride,
        max_fps=max_fps,
        duration_s=duration,
        codec=codec,
        save=save,
        jsonl=None if to_stdout else jsonl,
        lines_to_stdout=json_output or to_stdout,
        show=show,
    )
    ending = Ending()
    with asked_to_end(ending.ask), progress_bar() as bar:
        work(request, inputs, bar, ending)
