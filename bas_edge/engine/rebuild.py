"""A bundle's plan, built again from its own graph."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from bas_edge.backends import PLAN_BACKENDS, check_name
from bas_edge.engine.bundle import Engine, add_plan, open_engine
from bas_edge.engine.graph_form import check_flavour
from bas_edge.engine.plan_options import PlanOptions, plan_options
from bas_edge.engine.plans import PlanJob, rebuild_command, same_place
from bas_edge.errors import InputError

__all__ = ["rebuild_plan"]


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
    on_progress: Callable[[str, float], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Engine:
    """Build a bundle's plan again from its own `model.onnx`, for this machine and its library.

    The plan of the same backend and targets is replaced, even where it is damaged; no other file
    changes, so a report still speaks of the plan before. What is not given stays as the replaced
    plan was built.

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
    say = note or _silent
    engine = open_engine(bundle, check_plans=False)
    name = _backend_with_plans(engine, backend)
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
    check_flavour(Path(bundle), engine.manifest, name, say)
    job = PlanJob.prepare(name, options, say)
    plan = job.build(engine.model_path, engine.manifest, on_progress)
    return add_plan(
        engine,
        plan,
        replaces=lambda record: same_place(record, job),
        backend=name,
        build_command=_command(engine, name, options),
    )


def _backend_with_plans(engine: Engine, backend: str | None) -> str:
    if not engine.is_bundle:
        path = str(engine.path)
        raise InputError(
            f"{path} is a bare ONNX file; only a bundle has plans.",
            hint=f"Make a bundle: bas-edge build-engine {shlex.quote(path)} -o NAME.engine",
        )
    name = check_name(engine.manifest.backend if backend is None else backend)
    if name not in PLAN_BACKENDS:
        raise InputError(
            f"The backend '{name}' has no plans, so {engine.path} has none to build again.",
            hint=f"Name one that has: --backend {' or --backend '.join(PLAN_BACKENDS)}",
        )
    return name


def _command(engine: Engine, backend: str, options: PlanOptions) -> str:
    """What made the bundle, and then this plan."""
    made, *_ = engine.manifest.build_command.split(" && ")
    words = [word for pair in options.as_given().items() for word in pair]
    again = f"{rebuild_command(engine, backend)} {shlex.join(words)}".rstrip()
    return " && ".join(filter(None, (made, again)))


def _silent(_: str) -> None:
    """Say nothing: what a caller gets that gave no `note`."""
