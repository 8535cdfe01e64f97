"""The command line that makes an engine again, for builds that were not typed."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from bas_edge.engine.manifest import Task
from bas_edge.engine.plan_options import PlanOptions

if TYPE_CHECKING:
    from bas_edge.quantization.job import PrecisionJob

__all__ = ["build_command"]

_ALL = 10**9  # frames or seconds: more than there are


def build_command(
    model_onnx: str | os.PathLike[str],
    output: str | os.PathLike[str],
    backend: str,
    precision: str,
    options: PlanOptions,
    job: PrecisionJob | None,
    *,
    task: Task,
    truth: bool,
) -> str:
    """What to type for an engine for `task`.

    `truth` says which part of the job's bound its images are held to.
    """
    words = ["bas-edge", "build-engine", os.fspath(model_onnx), "-o", os.fspath(output)]
    words += ["--backend", backend, "--precision", precision]
    if job is not None:
        words += _of_job(job, precision, task=task, truth=truth)
    return shlex.join([*words, *(word for pair in options.as_given().items() for word in pair)])


def _of_job(job: PrecisionJob, precision: str, *, task: Task, truth: bool) -> list[str]:
    words = ["--calib", os.fspath(job.calibration)]
    words += ["--calib-limit", str(_ALL if job.limit is None else job.limit)]
    for option, source in (("--eval", job.evaluation), ("--background", job.background)):
        if source is not None:
            words += [option, os.fspath(source)]
    if job.evaluation_split is not None:
        words += ["--eval-split", job.evaluation_split]
    if truth:
        words += ["--max-drop", _number(job.bound.max_drop)]
    else:
        words += ["--min-agreement", _number(job.bound.agreement(task))]
    if precision == "int8":
        words += ["--calib-method", job.method]
        words += ["--search-budget", f"{_number(min(job.search_budget_s, _ALL))}s"]
        if job.reduce_range is not None:
            words.append("--reduce-range" if job.reduce_range else "--full-range")
    if job.threads is not None:
        words += ["--threads", str(job.threads)]
    if job.force:
        words.append("--force")
    return words


def _number(value: float) -> str:
    """Without an exponent, which the options do not take."""
    return f"{value:.9f}".rstrip("0").rstrip(".")
