"""The report of a build with reduced precision, on its way into the engine or beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bas_edge.engine.manifest import Manifest, PlanRecord
from bas_edge.engine.stages import Stage
from bas_edge.errors import AccuracyError, InputError
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.reduce import Reduced
from bas_edge.quantization.refused import advice, remove_refused, write_refused
from bas_edge.quantization.report import PrecisionReport
from bas_edge.quantization.report_file import PAGE_NAME, REPORT_NAME, report_files

__all__ = ["BuildReport"]


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
        """Write the report beside the engine that the bound refuses, unless it is forced.

        Raises:
            AccuracyError: The bound refuses it; where the report is, or why there is none.
        """
        report = self.reduced.report
        if report.verdict != "refused" or self.job.force:
            return
        message, hint = f"{self.output} was not written: {report.reason}", ""
        try:
            files = report_files(self._complete(forced=False), note=self.note)
            folder = write_refused(self.output, files)
            hint = f"Look at {folder / (PAGE_NAME if PAGE_NAME in files else REPORT_NAME)}. "
        except InputError as error:
            message += f" Nor was its report: {error}."
        except OSError as error:
            message += f" Nor was its report: {error.strerror}."
        hint += advice(report, self.job.search_budget_s)
        raise AccuracyError(message, hint=f"{hint} --force writes the engine all the same.")

    def files(self, plans: Sequence[PlanRecord]) -> Mapping[str, bytes]:
        """report.json and report.html, with a stage for each plan."""
        report = self._complete(forced=self.reduced.report.verdict == "refused")
        stages = [
            Stage(
                name="plan",
                against=report.precision,
                size_bytes=plan.file.size_bytes,
                note=f"{plan.backend} {plan.library_version}; not run while it was built",
            )
            for plan in plans
        ]
        complete = msgspec.structs.replace(report, stages=(*report.stages, *stages))
        return report_files(complete, note=self.note)

    def written(self) -> None:
        """The engine is there: an earlier refusal is no longer true."""
        if problem := remove_refused(self.output):
            self.note(problem)

    def _complete(self, *, forced: bool) -> PrecisionReport:
        return msgspec.structs.replace(
            self.reduced.report,
            engine=self.manifest.name,
            command=self.manifest.build_command,
            forced=forced,
            notes=tuple(self.notes),
        )
