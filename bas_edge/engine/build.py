"""From an exported ONNX file to an engine bundle."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

import bas_edge
from bas_edge.backends import PLAN_BACKENDS, check_name, open_backend
from bas_edge.engine.build_command import build_command
from bas_edge.engine.bundle import Engine, NewPlan, check_destination, write_bundle
from bas_edge.engine.contract import INPUT_NAME, check_graph, check_outputs
from bas_edge.engine.graph_form import GraphForm, check_flavour, graph_form
from bas_edge.engine.manifest import Manifest, Precision
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge.engine.plan_options import PlanOptions, plan_options
from bas_edge.engine.plans import PlanJob
from bas_edge.errors import InputError

if TYPE_CHECKING:
    from bas_edge.quantization.job import PrecisionJob

__all__ = ["build_engine"]

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
    told = _Told(job, on_progress, note)
    if job is not None:
        job = dataclasses.replace(job, note=told.say, on_progress=told.show)
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
    source = read_manifest(model_onnx)
    plan_job = _plan_job(Path(model_onnx), source, name, options, job, told.say)
    check_destination(output, overwrite=overwrite)
    with graph_form(Path(model_onnx), source, name, precision, job, told.say) as form:
        _say_what_to_expect(form, name, precision, told.say)
        manifest = msgspec.structs.replace(
            form.manifest,
            name=source.name or Path(output).stem,
            created_by=f"bas-edge {bas_edge.__version__}",
            backend=name,
            precision=precision,
            build_command=command
            or build_command(
                model_onnx,
                output,
                name,
                precision,
                options,
                job,
                task=source.task,
                truth=_has_truth(form),
            ),
        )
        report = None
        if form.reduced is not None and job is not None:
            from bas_edge.quantization.build_report import BuildReport

            report = BuildReport(form.reduced, manifest, job, Path(output), told.notes, told.say)
            report.refuse_or_force()
        engine = write_bundle(
            output,
            manifest,
            form.model,
            overwrite=overwrite,
            check=lambda path: _prove(path, manifest),
            plans=lambda path: _plans(plan_job, path, manifest, told),
            finish=None if report is None else report.finish,
        )
    if report is not None:
        report.written()
    return engine


class _Told:
    """Who is told of a build: the callbacks of `build_engine` and those of its job, each once.

    Attributes:
        notes: Every sentence that was said.
    """

    def __init__(
        self, job: PrecisionJob | None, on_progress: Progress | None, note: Note | None
    ) -> None:
        self.notes: list[str] = []
        self._listeners = _different(note, None if job is None else job.note)
        self._watchers = _different(on_progress, None if job is None else job.on_progress)

    def say(self, sentence: str) -> None:
        self.notes.append(sentence)
        for listener in self._listeners:
            listener(sentence)

    def show(self, phase: str, share: float) -> None:
        for watcher in self._watchers:
            watcher(phase, share)

    @property
    def progress(self) -> Progress | None:
        """`show`, where anybody watches."""
        return self.show if self._watchers else None


def _plan_job(
    model: Path,
    manifest: Manifest,
    backend: str,
    options: PlanOptions,
    job: PrecisionJob | None,
    note: Note,
) -> PlanJob | None:
    """What builds the plan, with everything asked for checked; None where there is none."""
    if backend in PLAN_BACKENDS and job is not None and job.reduce_range:
        raise InputError(
            f"--reduce-range is for x86 CPUs; the backend '{backend}' adds without overflow.",
            hint="Leave it out.",
        )
    check_flavour(model, manifest, backend, note)
    if backend in PLAN_BACKENDS:
        return PlanJob.prepare(backend, options, note)
    if given := options.as_given():
        raise InputError(
            f"{', '.join(given)} is about plans, and the backend '{backend}' has none.",
            hint="Add --backend tensorrt or --backend tensorrt_rtx.",
        )
    return None


def _plans(
    job: PlanJob | None, model: Path, manifest: Manifest, told: _Told
) -> tuple[NewPlan, ...]:
    return () if job is None else (job.build(model, manifest, told.progress),)


def _say_what_to_expect(form: GraphForm, backend: str, precision: str, note: Note) -> None:
    measured = form.reduced is not None  # then it was timed as well
    if precision == "fp16" and not measured and form.manifest.bound is None:
        note("Without --calib, fp16 is held to no bound, and there is no report.")
    if precision == "fp16" and backend not in PLAN_BACKENDS and not measured:
        note("ONNX Runtime gains nothing from float16 on a CPU: the engine is smaller, not faster.")
    if precision == "int8" and backend == "tensorrt_rtx":
        note("TensorRT-RTX builds int8 plans, but their speed is unverified; fp16 is recommended.")


def _has_truth(form: GraphForm) -> bool:
    """Whether the bound was measured on images with boxes or masks."""
    return form.reduced is not None and form.reduced.yardstick.has_truth


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


def _different(*given: _Callback | None) -> list[_Callback]:
    """Without those that are missing, and each once: the command line gives one twice."""
    found: list[_Callback] = []
    for one in given:
        if one is not None and one not in found:
            found.append(one)
    return found
