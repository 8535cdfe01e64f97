"""`bas-edge run`: boxes on images, videos, cameras and network streams."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from bas_edge.cli.options import Backend, Engine, Json, Threads
from bas_edge.cli.output import counted, print_json, print_rows, progress_bar

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
            "… that is free; with --json, nothing is written.",
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
            help="Write copies with the boxes drawn. Default: of files, not of cameras.",
        ),
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option("--jsonl", help="Also append every line to this file ({stream}, {date})."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show frames and boxes in a window; q ends it.")
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
        float | None, typer.Option("--duration", help="Stop each video after so many seconds.")
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
    """Find the object in images, video frames and live streams: one JSON line each."""
    from bas_edge.cli.run_files import FileRun
    from bas_edge.cli.run_live import LiveRun
    from bas_edge.cli.run_output import AnnotatedNames, Results, output_folder, raise_failures
    from bas_edge.cli.run_request import RunRequest
    from bas_edge.video.inputs import find_inputs

    found = find_inputs(inputs)
    request = RunRequest(
        engine=engine,
        localizer={
            "backend": backend,
            "threads": threads,
            "threshold": threshold,
            "top_k": top_k,
            "min_score": min_score,
            "max_boxes": max_boxes,
            "device": device,
            "rebuild": rebuild,
        },
        policy=None if policy is None else policy.value,
        smooth=None if smooth is None else smooth.value,
        stride=stride,
        max_fps=max_fps,
        duration_s=duration,
        codec=codec,
        save=save,
        jsonl=jsonl,
        show=show,
    )
    request.check(found)
    with ExitStack() as stack:
        stack.enter_context(_terminated_as_interrupted())
        opened = request.open(stack, found)
        folder = stack.enter_context(output_folder(output, overwrite, json_output))
        results = Results(stack, folder, json_output)
        keep = folder if save or save is None else None
        annotated = AnnotatedNames(keep, [*found.images, *found.videos])
        bar = stack.enter_context(progress_bar())
        if found.live:
            live = LiveRun(request, opened, folder, results, bar)
            live.run(found)
            failures, error, summary = live.failures, live.error, live.summary()
        else:
            files = FileRun(request, opened, annotated, results, bar)
            files.run(found)
            failures, error, summary = files.failures, None, files.summary()
    total = len(found.images) + len(found.videos) + len(found.live)
    written = folder if results.lines else None
    if json_output:
        counts = {"inputs": total, "localized": results.lines, "found": results.found}
        print_json({"summary": {**counts, "skipped": failures, **summary, "output": written}})
    else:
        print(f"{counted(results.lines, 'frame')} localized, an object found in {results.found}")
        for one in (*summary.get("videos", ()), *summary.get("streams", ())):
            _print_video(one)
        if written is not None:
            print(f"\nWritten to {written}")
    raise_failures(failures, total, results.lines, error)


def _print_video(one: Any) -> None:
    if isinstance(one, dict):  # a live stream
        if one["connections"] == 0:
            return
        print(
            f"\n{one['stream']}: {counted(one['results'], 'frame')}, {one['fps']:.1f} frames/s, "
            f"{one['dropped']} dropped, {one['damaged']} damaged, "
            f"connected {counted(one['connections'], 'time')}"
        )
        print_rows([("age", *(f"{name} {value:7.2f} ms" for name, value in one["age_ms"].items()))])
        return
    print(
        f"\n{one.source}: {counted(one.frames, 'frame')} in {one.seconds:.1f} s, "
        f"{one.fps:.1f} frames/s ({one.late} late for {one.source_fps:.4g} frames/s)"
    )
    print_rows(
        (name.removesuffix("_ms"), f"p50 {each['p50']:7.2f} ms", f"p90 {each['p90']:7.2f} ms")
        for name, each in one.stages.items()
    )


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, as a service manager sends it, ends a run as Ctrl-C does: files are finished."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("Terminated.")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
