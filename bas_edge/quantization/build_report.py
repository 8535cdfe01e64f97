"""The report of a build with reduced precision, on its way into the engine or beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bas_edge.engine.bundle import Engine
from bas_edge.engine.manifest import Manifest, PlanRecord
from bas_edge.engine.stages import Stage
from bas_edge.errors import AccuracyError, InputError
from bas_edge.quantization.advice import advice
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.plan_run import PlanNotRun, run_plan
from bas_edge.quantization.reduce import Reduced, figures_text
from bas_edge.quantization.refused import remove_refused, write_refused
from bas_edge.quantization.report import PrecisionReport
from bas_edge.quantization.report_file import PAGE_NAME, REPORT_NAME, report_files

__all__ = ["BuildReport"]

_TIMED = {
    "localization": "resize, network and box",
    "segmentation": "upload, network and download",
}


@dataclass(frozen=True, slots=True, eq=False)
class BuildReport:
    """The report of one reduced graph.

    Attributes:
        reduced: The graph, and what was measured.
        manifest: Of the engine.
        job: What was asked for.
        output: The engine's folder.
        notes: What was said so far; grows until the report is written.
        note: Called with a sentence about anything that went another way than asked.
    """

    reduced: Reduced
    manifest: Manifest
    job: PrecisionJob
    output: Path
    notes: Sequence[str]
    note: Callable[[str], None]

    def refuse_or_force(self) -> None:
        """Write the report beside the engine whose graph the bound refuses, unless it is forced.

        Raises:
            AccuracyError: The bound refuses it; where the report is, or why there is none.
        """
        self._refuse_or_force(self.reduced.report)

    def finish(self, bundle: Engine) -> tuple[Manifest, Mapping[str, bytes]]:
        """Run the plans where a GPU can, and hold them to the bound: manifest and report files.

        Raises:
            AccuracyError: See `refuse_or_force`, for a plan.
            BackendError: A plan was loaded, and then failed.
        """
        report = self.reduced.report
        for plan in bundle.manifest.plans:
            report = self._with_plan(report, bundle, plan)
        self._refuse_or_force(report)
        refused = report.verdict == "refused"
        manifest = bundle.manifest
        if refused and manifest.bound is not None:
            manifest = msgspec.structs.replace(
                manifest, bound=msgspec.structs.replace(manifest.bound, accepted=False)
            )
        return manifest, report_files(self._complete(report, forced=refused), note=self.note)

    def written(self) -> None:
        """The engine is there: an earlier refusal is no longer true."""
        if problem := remove_refused(self.output):
            self.note(problem)

    def _with_plan(
        self, report: PrecisionReport, bundle: Engine, plan: PlanRecord
    ) -> PrecisionReport:
        """With a stage for the plan, and with what the bound says of it where it could run."""
        yardstick, size = self.reduced.yardstick, plan.file.size_bytes
        library = f"{plan.backend} {plan.library_version}"
        found = run_plan(bundle, plan, yardstick, self.job.phase("running the plan"))
        if isinstance(found, PlanNotRun):
            if not found.expected:
                self.note(f"The plan was not run on the images of the bound: {found.reason}")
            stage = Stage(
                name="plan",
                against=report.precision,
                size_bytes=size,
                note=f"{library}; not run while it was built: {found.reason}",
            )
            return msgspec.structs.replace(report, stages=(*report.stages, stage))
        stage = yardstick.stage(
            self.reduced.measured,
            found.measured,
            "plan",
            report.precision,
            size_bytes=size,
            latency_ms=found.latency_ms,
            note=f"{library}; the time is of {_TIMED[report.task]} on the GPU",
        )
        checks = yardstick.checks(self.reduced.reference, found.measured)
        report = msgspec.structs.replace(report, stages=(*report.stages, stage), plan_checks=checks)
        if all(check.held for check in checks):
            return report
        return msgspec.structs.replace(
            report,
            verdict="refused",
            reason=f"{report.reason} The plan on this GPU: {figures_text(checks)}.",
        )

    def _refuse_or_force(self, report: PrecisionReport) -> None:
        if report.verdict != "refused" or self.job.force:
            return
        message, hint = f"{self.output} was not written: {report.reason}", ""
        try:
            files = report_files(self._complete(report, forced=False), note=self.note)
            folder = write_refused(self.output, files)
            hint = f"Look at {folder / (PAGE_NAME if PAGE_NAME in files else REPORT_NAME)}. "
        except InputError as error:
            message += f" Nor was its report: {error}."
        except OSError as error:
            message += f" Nor was its report: {error.strerror}."
        hint += advice(report, self.job.search_budget_s)
        raise AccuracyError(message, hint=f"{hint} --force writes the engine all the same.")

    def _complete(self, report: PrecisionReport, *, forced: bool) -> PrecisionReport:
        return msgspec.structs.replace(
            report,
            engine=self.manifest.name,
            command=self.manifest.build_command,
            forced=forced,
            notes=tuple(self.notes),
        )
