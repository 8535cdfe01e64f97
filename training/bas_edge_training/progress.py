"""What a run tells while it goes on."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bas_edge_training.training_log import LogRow

__all__ = ["ConsoleReporter", "Reporter", "RunPlan", "SilentReporter"]

_PLAIN_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class RunPlan:
    """How much there is to do. `first_step` is above 0 on a resume."""

    steps: int
    epochs: int
    first_step: int


class Reporter(Protocol):
    """Called from the thread that trains; an exception of a reporter ends the run."""

    def begin(self, plan: RunPlan) -> None: ...
    def step(self, row: LogRow) -> None: ...
    def epoch(self, row: LogRow) -> None: ...
    def note(self, message: str) -> None: ...
    def end(self) -> None: ...


class SilentReporter:
    """Says nothing: the result and log.csv hold everything."""

    def begin(self, plan: RunPlan) -> None: ...
    def step(self, row: LogRow) -> None: ...
    def epoch(self, row: LogRow) -> None: ...
    def note(self, message: str) -> None: ...
    def end(self) -> None: ...


class ConsoleReporter:
    """A bar with an ETA on a terminal, else a line every half minute. Writes to stderr."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._plan = RunPlan(0, 0, 0)
        self._last_line = self._began = time.monotonic()

    def begin(self, plan: RunPlan) -> None:
        """Start the bar, or remember when the run began."""
        self._plan = plan
        self._last_line = self._began = time.monotonic()
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.add_task("training", total=plan.steps, completed=plan.first_step, figures="")
            self._bar.start()

    def step(self, row: LogRow) -> None:
        """Move the bar; without one, print a line now and then."""
        figures = f"loss {row.loss:.3f}  area {row.area:.3f}  top-1 {100 * row.top1:.0f} %"
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0],
                completed=row.step,
                description=f"epoch {row.epoch}/{self._plan.epochs}",
                figures=figures,
            )
        elif time.monotonic() - self._last_line >= _PLAIN_EVERY_S:
            self._last_line = time.monotonic()
            done = row.step - self._plan.first_step
            left_s = (self._last_line - self._began) / done * (self._plan.steps - row.step)
            self.note(
                f"epoch {row.epoch}/{self._plan.epochs}  step {row.step}/{self._plan.steps}  "
                f"{figures}  ETA {left_s / 60:.0f} min"
            )

    def epoch(self, row: LogRow) -> None:
        """One line with the means of the epoch."""
        held_out = "" if row.val_top1 is None else f"  val top-1 {100 * row.val_top1:.1f} %"
        self.note(
            f"epoch {row.epoch}/{self._plan.epochs} done in step {row.step}: loss {row.loss:.3f}  "
            f"ce {row.ce:.3f}  fg {row.fg:.3f}  bas {row.bas:.3f}  area {row.area:.3f}  "
            f"top-1 {100 * row.top1:.1f} %{held_out}"
        )

    def note(self, message: str) -> None:
        """One line."""
        self._console.print(message, markup=False)

    def end(self) -> None:
        """Stop the bar, so that what follows is not overwritten."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
