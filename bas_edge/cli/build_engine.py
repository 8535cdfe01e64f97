"""`bas-edge build-engine`: an exported graph becomes an engine folder."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from bas_edge.cli.options import Json, Threads
from bas_edge.cli.output import build_bar, print_json, size_text
from bas_edge.cli.precision_options import PrecisionOptions, precision_job
from bas_edge.errors import InputError

if TYPE_CHECKING:
    from bas_edge.engine.bundle import Engine
    from bas_edge.engine.manifest import Precision

__all__ = ["command", "next_commands"]

_PLANS = "Plans (TensorRT)"
_BITS = "Fewer bits (int8, fp16)"


def command(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL.onnx", help="A graph from `export`; with --rebuild, an engine folder."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The engine folder. Default: the model's name."),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            help="Inference library that the engine is for: onnxruntime, tensorrt, tensorrt_rtx.",
            show_default="onnxruntime",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="Arithmetic: fp32, fp16 or int8.", show_default="fp32"),
    ] = None,
    calib: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGES",
            help="Folder, glob, CSV or video that ranges are measured on.",
            rich_help_panel=_BITS,
        ),
    ] = None,
    calib_method: Annotated[
        str | None,
        typer.Option(
            help="min-max, percentile-99.99, percentile-99.9, mse, entropy, qat; auto tries them.",
            show_default="auto",
            rich_help_panel=_BITS,
        ),
    ] = None,
    calib_limit: Annotated[
        int | None,
        typer.Option(help="Calibration images at most.", show_default="500", rich_help_panel=_BITS),
    ] = None,
    eval_data: Annotated[
        str | None,
        typer.Option(
            "--eval",
            metavar="IMAGES",
            help="What the bound is measured on: a CSV with boxes, a set with masks, or images.",
            show_default="a fifth of --calib",
            rich_help_panel=_BITS,
        ),
    ] = None,
    eval_split: Annotated[
        str | None,
        typer.Option(
            help="Which part of a set with masks.", show_default="val", rich_help_panel=_BITS
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(help="Images without any object.", rich_help_panel=_BITS),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="With boxes: points of MaxBoxAccV2 and Top-1 Loc that may be lost; with masks: "
            "points of mIoU.",
            show_default="0.5",
            rich_help_panel=_BITS,
        ),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            help="Without: mean box IoU and class agreement with float32; mIoU with its masks.",
            show_default="0.97; of masks 0.85",
            rich_help_panel=_BITS,
        ),
    ] = None,
    search_budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="To look for layers that must stay in float: 90s, 10m; 0 does not look.",
            show_default="30m",
            rich_help_panel=_BITS,
        ),
    ] = None,
    reduce_range: Annotated[
        bool | None,
        typer.Option(
            "--reduce-range/--full-range",
            help="Weights of 7 bits, for x86 CPUs without VNNI.",
            show_default="as this CPU needs",
            rich_help_panel=_BITS,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Take fewer than 100 images, and write an engine that the bound refuses.",
            rich_help_panel=_BITS,
        ),
    ] = False,
    threads: Threads = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an engine of the same name.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the plan of an engine folder again, here.")
    ] = False,
    min_batch: Annotated[
        int | None, typer.Option(help="Fewest frames in a run.", rich_help_panel=_PLANS)
    ] = None,
    opt_batch: Annotated[
        int | None, typer.Option(help="Frames to be fastest for.", rich_help_panel=_PLANS)
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option(help="Most frames in a run.", rich_help_panel=_PLANS)
    ] = None,
    workspace: Annotated[
        str | None,
        typer.Option(help="Limit of scratch memory, such as 512MiB.", rich_help_panel=_PLANS),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="tensorrt_rtx: GPUs, such as sm_86,sm_89.", rich_help_panel=_PLANS),
    ] = None,
    hardware_compat: Annotated[
        str | None,
        typer.Option(
            help="tensorrt: none, ampere_plus or same_compute_capability.", rich_help_panel=_PLANS
        ),
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(help="tensorrt: file of measured kernel times.", rich_help_panel=_PLANS),
    ] = None,
    json_output: Json = False,
) -> None:
    """Check an exported graph and write it as an engine folder, complete or not at all."""
    from bas_edge.engine.build import build_engine
    from bas_edge.engine.rebuild import rebuild_plan

    notes: list[str] = []

    def note(sentence: str) -> None:
        notes.append(sentence)
        print(f"note: {sentence}", file=sys.stderr)

    options: dict[str, Any] = {
        "min_batch": min_batch,
        "opt_batch": opt_batch,
        "max_batch": max_batch,
        "workspace": workspace,
        "targets": () if target is None else ",".join(target),
        "timing_cache": timing_cache,
        "note": note,
    }
    _check_kind(model, rebuild, output, precision, overwrite)
    if target is not None and not "".join(target).strip(" ,"):  # a shell variable that is not set
        raise InputError("--target is empty.", hint="Name GPUs: --target sm_86,sm_89")
    with _stopped_like_ctrl_c(), build_bar() as on_progress:
        job = precision_job(
            PrecisionOptions(
                calib=calib,
                calib_method=calib_method,
                calib_limit=calib_limit,
                eval_data=eval_data,
                eval_split=eval_split,
                background=background,
                max_drop=max_drop,
                min_agreement=min_agreement,
                search_budget=search_budget,
                reduce_range=reduce_range,
                force=force,
                threads=threads,
            ),
            precision=precision,
            rebuild=rebuild,
        )
        if rebuild:
            engine = rebuild_plan(
                model,
                backend=backend,
                hardware_compat=hardware_compat,
                on_progress=on_progress,
                **options,
            )
        else:
            engine = build_engine(
                model,
                output or model.with_suffix(".engine"),
                backend=backend or "onnxruntime",
                precision=cast("Precision", precision or "fp32"),  # others are refused by name
                job=job,
                hardware_compat=hardware_compat or "none",
                overwrite=overwrite,
                command=shlex.join(["bas-edge", *sys.argv[1:]]),
                on_progress=on_progress,
                **options,
            )
    if json_output:
        print_json(
            {
                "engine": engine.path,
                "manifest": engine.manifest,
                "notes": notes,
                "next": next_commands(engine.path, engine.manifest.task),
            }
        )
        return
    _print(engine)


@contextlib.contextmanager
def _stopped_like_ctrl_c() -> Iterator[None]:
    """A terminal that closes and a container that is stopped leave nothing behind either."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stops = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {stop: signal.signal(stop, signal.default_int_handler) for stop in stops}
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, signal.SIG_DFL if handler is None else handler)


def _check_kind(
    model: Path, rebuild: bool, output: Path | None, precision: str | None, overwrite: bool
) -> None:
    if rebuild:
        taken = {"--output": output, "--precision": precision, "--overwrite": overwrite}
        if given := [name for name, value in taken.items() if value]:
            raise InputError(
                f"--rebuild changes the plan of {model} in place, so it takes no "
                f"{' and no '.join(given)}.",
                hint=f"Leave {given[0]} out, or build a new engine from the exported graph.",
            )
    elif model.is_dir():
        folder = shlex.quote(str(model))
        raise InputError(
            f"{model} is a folder, not an ONNX file.",
            hint=f"Export the run first: bas-edge export {folder}"
            if (model / "checkpoint.safetensors").is_file()
            else f"To build its plan again: bas-edge build-engine {folder} --rebuild",
        )


def _print(engine: Engine) -> None:
    manifest = engine.manifest
    size_mb = engine.model_path.stat().st_size / 1e6
    classes = len(manifest.classes)
    print(f"Wrote {engine.path} ({manifest.precision}, {size_mb:.1f} MB, {classes} classes)")
    if manifest.plans and manifest.backend != "onnxruntime":
        plan = manifest.plans[-1]
        facts = [
            f"{plan.file.size_bytes / 1e6:.1f} MB",
            f"{plan.layers} layers",
            f"{plan.build_seconds:.1f} s",
        ]
        if plan.peak_bytes:
            facts.append(f"peak {size_text(plan.peak_bytes)} of memory")
        print(f"  {plan.file.path}: {', '.join(facts)}")
    _print_report(engine)
    print("\nNext:")
    for line in next_commands(engine.path, engine.manifest.task):
        print(f"  {line}")


def _print_report(engine: Engine) -> None:
    """The verdict, where the engine was held to a bound."""
    if not any(file.path == "report.json" for file in engine.manifest.files):
        return
    from bas_edge.cli.inspect_report import print_summary
    from bas_edge.quantization.report_file import read_report

    print()
    print_summary(read_report(engine), engine.path)


def next_commands(engine: Path, task: str = "localization") -> list[str]:
    """Commands to paste once an engine exists, quoted for the shell."""
    name = shlex.quote(str(engine))
    if task == "segmentation":
        return [
            f"bas-edge segment {name} photo.jpg -o masks --overlays",
            f"bas-edge evaluate {name} VOC2012 --split val",
            f"bas-edge benchmark {name}",
            f"bas-edge inspect {name}",
        ]
    return [
        f"bas-edge run {name} photo.jpg",
        f"bas-edge run {name} clip.mp4",
        f"bas-edge evaluate {name} val.csv",
        f"bas-edge benchmark {name}",
        f"bas-edge inspect {name}",
    ]
