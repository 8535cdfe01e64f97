"""From an exported ONNX file to an engine bundle, and a bundle's plan built again."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

import bas_edge
from bas_edge.backends import PLAN_BACKENDS, check_name, open_backend
from bas_edge.engine.build_command import build_command
from bas_edge.engine.bundle import (
    Engine,
    add_plan,
    check_destination,
    open_engine,
    write_bundle,
)
from bas_edge.engine.contract import INPUT_NAME, check_graph, check_outputs
from bas_edge.engine.manifest import Manifest, PlanRecord, Precision
from bas_edge.engine.onnx_metadata import read_manifest, with_manifest
from bas_edge.engine.plan_options import PlanOptions, plan_options
from bas_edge.engine.plans import PlanJob, rebuild_command, same_place
from bas_edge.errors import InputError

if TYPE_CHECKING:
    from bas_edge.quantization.codes import Flavour
    from bas_edge.quantization.job import PrecisionJob
    from bas_edge.quantization.reduce import Reduced

__all__ = ["build_engine", "rebuild_plan"]

Progress = Callable[[str, float], None]
Note = Callable[[str], None]
_Callback = TypeVar("_Callback")


def build_engine(
    model_onnx: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    backend: str = "onnxruntime",
    precision: Precision = "fp32",
    job: PrecisionJob | None = None,
    min_batch: int | None = None,
    opt_batch: int | None = None,
    max_batch: int | None = None,
    workspace: int | str | None = None,
    targets: str | Sequence[str] = (),
    hardware_compat: str = "none",
    timing_cache: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    command: str | None = None,
    on_progress: Progress | None = None,
    note: Note | None = None,
) -> Engine:
    """Make the bundle `output` from an ONNX file that `bas-edge export` wrote.

    The graph is held against its metadata, loaded with ONNX Runtime from inside the new bundle
    and run once on noise; then the plan is built, where the backend has one; only then does the
    bundle appear, whole, at `output`.

    Args:
        model_onnx: The exported graph.
        output: The folder to make, by custom `NAME.engine`.
        backend: What the engine is for: "onnxruntime" or "auto", "tensorrt" for the GPU of this
            machine, "tensorrt_rtx" for a list of GPUs (needs none here).
        precision: "fp32"; or "fp16" or "int8", made in the graph (docs/precision.md).
        job: Calibration images, and the bound that the engine is held to. int8 needs it; fp16
            without it is checked for overflow on noise and held to nothing.
        min_batch, opt_batch, max_batch: Frames in one run of the plan. By default 1, the
            smallest, and 8; all equal makes a static batch.
        workspace: Limit of TensorRT's scratch memory: bytes, or text such as "512MiB".
        targets: tensorrt_rtx: GPU architectures, "sm_86,sm_89"; by default sm_80, sm_86,
            sm_89, sm_120 and later.
        hardware_compat: tensorrt: "ampere_plus" or "same_compute_capability" make a plan that
            runs on more GPUs, and is slower.
        timing_cache: tensorrt: a file of measured kernel times, read and written back.
        overwrite: Replace an engine that is there, once the new one is complete.
        command: What the user typed, for the manifest; by default the equivalent command line.
        on_progress: Called with a phase and the share done, 0 to 1: while `job` is measured, and
            from a thread while TensorRT builds. So is the one of `job`.
        note: Called with a sentence about anything that went another way than asked. So is the
            one of `job`.

    Raises:
        InputError: No such file, an unknown backend, an option that does not fit it, or `output`
            is taken.
        MissingExtraError: The backend's library, or onnx for fp16, is not installed.
        EngineError: The file has no bas-edge metadata, breaks the graph contract, or the disk
            is full. Nothing is left behind.
        BackendError: The backend refuses the graph, or needs a GPU that is not there.
        AccuracyError: The bound refuses the engine, which is not written; the report is, to
            NAME.refused beside it. `force` in `job` writes the engine, marked. What
            `NAME.refused` held of an earlier refusal goes when the engine is written.
        KeyboardInterrupt: Ctrl-C; TensorRT stops at its next step. Nothing is left behind.
    """
    notes: list[str] = []
    listeners = _different(note, None if job is None else job.note)
    watchers = _different(on_progress, None if job is None else job.on_progress)

    def say(sentence: str) -> None:
        notes.append(sentence)
        for listener in listeners:
            listener(sentence)

    def show(phase: str, share: float) -> None:
        for watcher in watchers:
            watcher(phase, share)

    if job is not None:
        job = dataclasses.replace(job, note=say, on_progress=show)
    options = plan_options(
        min_batch=min_batch,
        opt_batch=opt_batch,
        max_batch=max_batch,
        workspace=workspace,
        targets=targets,
        hardware_compat=hardware_compat,
        timing_cache=timing_cache,
    )
    name = check_name(backend)
    if name in PLAN_BACKENDS and job is not None and job.reduce_range:
        raise InputError(
            f"--reduce-range is for x86 CPUs; the backend '{name}' adds without overflow.",
            hint="Leave it out.",
        )
    source = read_manifest(model_onnx)
    _check_flavour(Path(model_onnx), source, name, say)
    plan_job = PlanJob.prepare(name, options, say) if name in PLAN_BACKENDS else None
    if plan_job is None:
        _refuse_plan_options(name, options)
    check_destination(output, overwrite=overwrite)
    model, source, reduced = _in_precision(Path(model_onnx), source, name, precision, job, say)
    if precision == "fp16" and plan_job is None and reduced is None:  # else it was timed
        say("ONNX Runtime gains nothing from float16 on a CPU: the engine is smaller, not faster.")
    if precision == "int8" and name == "tensorrt_rtx":
        say("TensorRT-RTX builds int8 plans, but their speed is unverified; fp16 is recommended.")
    boxes = reduced is not None and reduced.report.checks[0].metric == "MaxBoxAccV2"
    manifest = msgspec.structs.replace(
        source,
        name=source.name or Path(output).stem,
        created_by=f"bas-edge {bas_edge.__version__}",
        backend=name,
        precision=precision,
        build_command=command
        or build_command(model_onnx, output, name, precision, options, job, boxes=boxes),
    )
    report = None
    if reduced is not None:
        from bas_edge.quantization.build_report import BuildReport

        assert job is not None  # what is measured was asked for
        report = BuildReport(reduced, manifest, job, Path(output), notes, say)
        report.refuse_or_force()
    engine = write_bundle(
        output,
        manifest,
        model,
        files=lambda plans: {} if report is None else report.files(plans),
        overwrite=overwrite,
        check=lambda path: _prove(path, manifest),
        plans=lambda path: (
            (plan_job.build(path, manifest, show if watchers else None),) if plan_job else ()
        ),
    )
    if report is not None:
        report.written()
    return engine


def rebuild_plan(
    bundle: str | os.PathLike[str],
    *,
    backend: str | None = None,
    min_batch: int | None = None,
    opt_batch: int | None = None,
    max_batch: int | None = None,
    workspace: int | str | None = None,
    targets: str | Sequence[str] = (),
    hardware_compat: str | None = None,
    timing_cache: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    note: Note | None = None,
) -> Engine:
    """Build a bundle's plan again from its own `model.onnx`, for this machine and its library.

    The plan of the same backend and targets is replaced, even where it is damaged; no other file
    changes. What is not given stays as the replaced plan was built.

    Args:
        bundle: The engine folder.
        backend: "tensorrt" or "tensorrt_rtx"; by default the one that the bundle is for.
        min_batch, opt_batch, max_batch, workspace, targets, hardware_compat, timing_cache: See
            `build_engine`.
        on_progress: See `build_engine`.
        note: See `build_engine`.

    Raises:
        InputError, MissingExtraError, EngineError, BackendError, KeyboardInterrupt: See
            `build_engine`. The bundle is as it was.
    """
    engine = open_engine(bundle, check_plans=False)
    if not engine.is_bundle:
        raise InputError(
            f"{bundle} is a bare ONNX file; only a bundle has plans.",
            hint=f"Make a bundle: bas-edge build-engine {shlex.quote(str(bundle))} -o NAME.engine",
        )
    name = check_name(engine.manifest.backend if backend is None else backend)
    if name not in PLAN_BACKENDS:
        raise InputError(
            f"The backend '{name}' has no plans, so {bundle} has none to build again.",
            hint=f"Name one that has: --backend {' or --backend '.join(PLAN_BACKENDS)}",
        )
    old = [record for record in engine.manifest.plans if record.backend == name]
    if old:
        last = old[-1]
        least = last.min_batch if min_batch is None else min_batch
        most = max(last.max_batch, least, opt_batch or 0) if max_batch is None else max_batch
        best = min(max(last.opt_batch, least), most) if opt_batch is None else opt_batch
        min_batch, opt_batch, max_batch = least, best, most
        workspace = last.workspace_bytes if workspace is None else workspace
        hardware_compat = hardware_compat or last.hardware_compat
        was_default = any(target.endswith("+") for target in last.targets)
        if name == "tensorrt_rtx" and not targets and not was_default:
            targets = last.targets
    options = plan_options(
        min_batch=min_batch,
        opt_batch=opt_batch,
        max_batch=max_batch,
        workspace=workspace,
        targets=targets,
        hardware_compat=hardware_compat or "none",
        timing_cache=timing_cache,
    )
    _check_flavour(Path(bundle), engine.manifest, name, note or _silent)
    job = PlanJob.prepare(name, options, note or _silent)
    plan = job.build(engine.model_path, engine.manifest, on_progress)

    def replaced(record: PlanRecord) -> bool:
        return same_place(record, job)

    made, *_ = engine.manifest.build_command.split(" && ")  # what made the bundle
    words = [word for pair in options.as_given().items() for word in pair]
    again = f"{rebuild_command(engine, name)} {shlex.join(words)}".rstrip()
    return add_plan(
        engine,
        plan,
        replaces=replaced,
        backend=name,
        build_command=" && ".join(filter(None, (made, again))),
    )


def _in_precision(
    model: Path,
    manifest: Manifest,
    backend: str,
    precision: str,
    job: PrecisionJob | None,
    note: Note,
) -> tuple[bytes | Path, Manifest, Reduced | None]:
    """The graph that goes into the bundle, its manifest, and how it was measured, if it was."""
    if precision not in ("fp32", "fp16", "int8"):
        raise InputError(
            f"Unknown precision '{precision}'.",
            hint="Build with --precision fp32, --precision fp16 or --precision int8.",
        )
    if manifest.precision == precision and job is None:
        return model, manifest, None
    if precision == "fp32":
        if manifest.precision == "fp32":
            raise InputError(
                "Precision fp32 has no calibration and no bound.",
                hint="Leave them out, or add --precision int8.",
            )
        raise _wrong_source(model, manifest, precision)
    if manifest.precision != "fp32":
        raise _wrong_source(model, manifest, precision)
    if job is not None:
        from bas_edge.quantization.reduce import reduce_precision

        flavour: Flavour = "tensorrt" if backend in PLAN_BACKENDS else "onnxruntime"
        reduced = reduce_precision(model, manifest, precision, flavour, job)
        return with_manifest(reduced.model, reduced.manifest), reduced.manifest, reduced
    if precision == "int8":
        raise InputError(
            "Precision int8 needs real images to measure ranges on.",
            hint="Add --calib IMAGES, such as the training images.",
        )
    from bas_edge.engine.float16_range import half_that_fits, trial_frames

    graph = half_that_fits(model, [trial_frames(manifest.input)])
    for sentence in graph.notes:
        note(sentence)
    changed = msgspec.structs.replace(manifest, precision="fp16")
    return with_manifest(graph.model, changed), changed, None


def _check_flavour(model: Path, manifest: Manifest, backend: str, note: Note) -> None:
    """Refuse an int8 graph whose Q/DQ nodes the backend cannot take; say where they are slow."""
    made_for = manifest.quantization
    if made_for is None:
        return
    if backend in PLAN_BACKENDS and made_for.flavour != "tensorrt":
        raise InputError(
            f"{model} was quantized for ONNX Runtime, whose Q/DQ nodes TensorRT refuses.",
            hint="Build an engine from the exported graph: bas-edge build-engine model.onnx "
            f"--backend {backend} --precision int8 --calib IMAGES",
        )
    if backend not in PLAN_BACKENDS and made_for.flavour == "tensorrt":
        note(
            f"{model} was quantized for TensorRT: ONNX Runtime keeps its rounding, which is slow. "
            "For a fast engine, quantize the exported graph for this backend."
        )


def _wrong_source(model: Path, manifest: Manifest, precision: str) -> InputError:
    if manifest.precision == precision:
        return InputError(
            f"{model} is a graph in {precision} already; calibration needs one in fp32.",
            hint="Leave --calib out, or give the graph that bas-edge export wrote.",
        )
    return InputError(
        f"{model} is a graph in {manifest.precision}; precision {precision} needs one in fp32.",
        hint=f"Build with --precision {manifest.precision}, or give the graph that "
        "bas-edge export wrote.",
    )


def _prove(model: Path, manifest: Manifest) -> None:
    """Load the graph and run it once; two frames, so that a batch that is not dynamic shows."""
    backend = open_backend("onnxruntime", model)
    try:
        check_graph(backend.inputs, backend.outputs, manifest)
        shape = (2, manifest.input.height, manifest.input.width, 3)
        frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        check_outputs(backend.run({INPUT_NAME: frames}), len(frames), manifest)
    finally:
        backend.close()


def _refuse_plan_options(backend: str, options: PlanOptions) -> None:
    if given := options.as_given():
        raise InputError(
            f"{', '.join(given)} is about plans, and the backend '{backend}' has none.",
            hint="Add --backend tensorrt or --backend tensorrt_rtx.",
        )


def _different(*given: _Callback | None) -> list[_Callback]:
    """Without those that are missing, and each once: the command line gives one twice."""
    found: list[_Callback] = []
    for one in given:
        if one is not None and one not in found:
            found.append(one)
    return found


def _silent(_: str) -> None:
    """Say nothing: what a caller gets that gave no `note`."""
