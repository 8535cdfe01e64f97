"""The plans of a bundle: building one, naming it, and checking it before it is loaded."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bas_edge.backends import plan_builder
from bas_edge.backends._plan_header import check_header
from bas_edge.engine.bundle import Engine, NewPlan
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import FileRecord, Manifest, PlanRecord
from bas_edge.engine.memory import check_memory
from bas_edge.engine.plan_options import PlanOptions
from bas_edge.errors import EngineError, EngineMismatchError

if TYPE_CHECKING:
    from bas_edge.backends._tensorrt_build import PlanBuilder

__all__ = ["PlanJob", "check_plan", "find_plan", "rebuild_command", "runs_on", "same_place"]


@dataclass(frozen=True, slots=True)
class PlanJob:
    """A plan that can be built: the library is there and everything asked for was checked."""

    builder: PlanBuilder
    options: PlanOptions
    note: Callable[[str], None]

    @classmethod
    def prepare(cls, backend: str, options: PlanOptions, note: Callable[[str], None]) -> PlanJob:
        """Check the options against the library.

        Raises:
            MissingExtraError: The library is not installed.
            InputError, BackendError: See `bas_edge.backends.plan_builder`.
        """
        builder = plan_builder(
            backend,
            targets=options.targets,
            hardware_compat=options.hardware_compat,
            timing_cache=options.timing_cache,
            note=note,
        )
        return cls(builder, options, note)

    def build(
        self,
        model: Path,
        manifest: Manifest,
        on_progress: Callable[[str, float], None] | None = None,
    ) -> NewPlan:
        """Build the plan of `model`, whose manifest says its input and precision.

        Raises:
            BackendError: TensorRT refuses or fails.
            InputError: The workspace does not fit into memory.
            KeyboardInterrupt: Ctrl-C.
        """
        from bas_edge.backends._tensorrt_build import BuildRequest

        options, builder = self.options, self.builder
        workspace = check_memory(model.stat().st_size, options.workspace_bytes, self.note)
        request = BuildRequest(
            model_path=model,
            input_name=INPUT_NAME,
            frame_shape=(manifest.input.height, manifest.input.width, 3),
            precision=manifest.precision,
            min_batch=options.min_batch,
            opt_batch=options.opt_batch,
            max_batch=options.max_batch,
            workspace_bytes=workspace,
        )
        built = builder.build(request, on_progress=on_progress, note=self.note)
        gpu = builder.gpu
        record = PlanRecord(
            backend=builder.backend,
            file=FileRecord(path=self.path(), sha256="", size_bytes=0),
            library_version=built.library_version,
            compute_capability="{}.{}".format(*gpu.compute_capability) if gpu else "",
            device_name=gpu.name if gpu else "",
            driver=gpu.driver if gpu else "",
            cuda=gpu.cuda if gpu else "",
            targets=builder.targets,
            hardware_compat=options.hardware_compat,
            precision=manifest.precision,
            min_batch=options.min_batch,
            opt_batch=options.opt_batch,
            max_batch=options.max_batch,
            workspace_bytes=built.workspace_bytes,
            layers=built.layers,
            build_seconds=round(built.seconds, 3),
            peak_bytes=built.peak_bytes,
        )
        return NewPlan(record, built.plan)

    def path(self) -> str:
        """`plans/<backend>-<version>-<targets>.plan`, in the bundle."""
        targets = "-".join(self.builder.targets).replace("+", "plus")
        version = re.sub(r"[^0-9A-Za-z.]", "_", self.builder.library_version)
        return f"plans/{self.builder.backend}-{version}-{targets}.plan"


def same_place(record: PlanRecord, job: PlanJob) -> bool:
    """Whether a plan is for the backend and the GPUs of `job`, whatever its version."""
    return record.backend == job.builder.backend and record.targets == job.builder.targets


def find_plan(engine: Engine, backend: str, compute_capability: tuple[int, int]) -> PlanRecord:
    """The bundle's plan for a backend and a GPU; of several, the last that was added.

    Raises:
        EngineError: The bundle has no plan of this backend.
        EngineMismatchError: It has some, all for other GPUs.
    """
    plans = [record for record in engine.manifest.plans if record.backend == backend]
    if not plans:
        raise EngineError(
            f"{engine.path} has no plan for the backend '{backend}'; "
            f"it was built for '{engine.manifest.backend}'.",
            hint=f"Build one: {rebuild_command(engine, backend)}",
        )
    fitting = [record for record in plans if runs_on(record, compute_capability)]
    if not fitting:
        targets = dict.fromkeys(target for record in plans for target in _targets(record))
        raise EngineMismatchError(
            str(engine.path),
            built_for=", ".join(targets),
            running_on=_sm(compute_capability),
            rebuild=rebuild_command(engine, backend),
        )
    return fitting[-1]


def check_plan(
    engine: Engine,
    record: PlanRecord,
    *,
    library_version: str,
    compute_capability: tuple[int, int],
) -> Path:
    """Check what a plan says of itself, before it is loaded, and give its path; not its hash.

    Args:
        engine: The bundle.
        record: One of its plans.
        library_version: Of the installed library.
        compute_capability: Of the GPU that is to run it.

    Raises:
        EngineMismatchError: Another library, version or GPU built it; both values are named.
        EngineCorruptError: It is too short to be a plan.
    """
    rebuild = rebuild_command(engine, record.backend)
    path = engine.path / record.file.path
    check_header(path, backend=record.backend, library_version=library_version, rebuild=rebuild)
    if not runs_on(record, compute_capability):
        raise EngineMismatchError(
            str(path),
            built_for=", ".join(_targets(record)),
            running_on=_sm(compute_capability),
            rebuild=rebuild,
        )
    return path


def runs_on(record: PlanRecord, compute_capability: tuple[int, int]) -> bool:
    """Whether a plan's targets include a GPU, such as (8, 9). TensorRT has the last word.

    A record without any target is unknown, and passes.
    """
    number = compute_capability[0] * 10 + compute_capability[1]
    if record.hardware_compat == "ampere_plus":
        return number >= 80
    targets = _targets(record)
    for target in targets:
        lowest = int(target.removeprefix("sm_").removesuffix("+"))
        if number == lowest or (target.endswith("+") and number >= lowest):
            return True
    return not targets


def rebuild_command(engine: Engine, backend: str) -> str:
    """What to paste to build the plan of a bundle again, here."""
    words = ["bas-edge", "build-engine", str(engine.path), "--rebuild", "--backend", backend]
    return shlex.join(words)


def _targets(record: PlanRecord) -> tuple[str, ...]:
    built_on = record.compute_capability.replace(".", "")
    return record.targets or ((f"sm_{built_on}",) if built_on else ())


def _sm(compute_capability: tuple[int, int]) -> str:
    return "sm_{}{}".format(*compute_capability)
