"""`bas-edge benchmark`: how long an engine takes on this machine, stage by stage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from bas_edge.cli.destinations import claim_files
from bas_edge.cli.options import Backend, Engine, Json, Threads
from bas_edge.cli.output import json_line, print_json, print_rows, progress_bar
from bas_edge.errors import InputError

__all__ = ["command"]


def command(
    engine: Engine,
    frames: Annotated[
        int | None, typer.Option("--frames", help="Frames to measure. Default: 200.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Stop after this long instead.")
    ] = None,
    warmup: Annotated[
        int, typer.Option("--warmup", help="Frames that run first and are not counted.")
    ] = 10,
    size: Annotated[
        str, typer.Option("--size", help="WIDTHxHEIGHT of the synthetic frame.")
    ] = "1280x720",
    image: Annotated[
        Path | None, typer.Option("--image", help="A real frame instead of the synthetic one.")
    ] = None,
    threads: Threads = None,
    backend: Backend = "auto",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the result to this JSON file.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Measure pre, infer, post and total time per frame, and throughput."""
    from bas_edge.latency import benchmark

    claim_files(output)
    with progress_bar() as bar:
        task = bar.add_task("benchmark", total=frames, note="")
        result = benchmark(
            engine,
            backend=backend,
            threads=threads,
            frames=frames,
            seconds=seconds,
            warmup=warmup,
            size=_height_width(size),
            image=image,
            on_frame=lambda done, planned: bar.update(task, completed=done, total=planned),
        )
    if output is not None:
        output.write_text(json_line(result) + "\n", encoding="utf-8")
    if json_output:
        print_json(result)
        return
    threads_text = "default threads" if threads is None else f"{threads} threads"
    print(f"{result.engine}: {result.backend}, {threads_text}, {result.frame}")
    print(f"{result.frames} frames after {result.warmup} of warm-up, ms per frame:\n")
    print_rows(
        [
            ("stage", "   p50", "   p90", "   p99", "  mean"),
            *(
                (name, *(f"{value:6.2f}" for value in (s.p50_ms, s.p90_ms, s.p99_ms, s.mean_ms)))
                for name, s in result.stages.items()
            ),
        ]
    )
    print(f"\n{result.frames_per_s:.1f} frames/s, one after another\n\nConditions")
    print_rows((key.replace("_", " "), _text(value)) for key, value in result.conditions.items())


def _height_width(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)[x×](\d+)", text.strip().lower())
    if found is None:
        raise InputError(f"--size {text!r} is not WIDTHxHEIGHT.", hint="For example: 1280x720")
    return int(found[2]), int(found[1])


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
