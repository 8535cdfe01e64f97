"""The table of training by one process and by several."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .table_text import measured, newest, table
from .train_rows import TrainProcessesRow

__all__ = ["train_processes_line", "train_processes_table"]


def train_processes_table(rows: Sequence[TrainProcessesRow]) -> str:
    """Medians with the lowest and the highest run; speeds against the first number of processes."""
    rows = newest(rows)
    lines = []
    for row in rows:
        first = statistics.median(next(iter(row.images_per_s.values())))
        lines += [
            [
                *(row.device, row.model, str(row.batch), str(number)),
                _spread(speeds),
                f"{statistics.median(speeds) / first:.2f}×",
                _spread(row.first_step_s[number]),
            ]
            for number, speeds in row.images_per_s.items()
        ]
    headers = ["device", "model", "batch", "processes", "images/s", "against the first",
               "first step after, s"]  # fmt: skip
    verified = "\n".join(f"- {row.device}: {row.verified}." for row in rows)
    return "\n\n".join([table(headers, lines), *filter(None, [verified]), *measured(rows)])


def train_processes_line(row: TrainProcessesRow) -> str:
    """For the terminal."""
    parts = [
        f"{number} processes: {_spread(speeds)} images/s, "
        f"first step after {_spread(row.first_step_s[number])} s"
        for number, speeds in row.images_per_s.items()
    ]
    return "; ".join([*parts, row.verified])


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"
