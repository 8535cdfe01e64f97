"""log.csv: one row a step, one row an epoch."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from bas_edge.errors import BasEdgeError
from bas_edge_training.atomic import replace_atomically

__all__ = ["LogRow", "TrainingLog", "read_log"]


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row; docs/training.md explains each column. None is written as an empty field.

    Attributes:
        row: "step", or "epoch" (means over the epoch, and the validation figures).
        epoch, step: Counted from 1.
        seconds: Since the run began, pauses between resumes left out.
    """

    row: str
    epoch: int
    step: int
    lr: float
    loss: float
    ce: float
    fg: float
    bas: float
    area: float
    empty: float
    top1: float
    val_top1: float | None
    val_area: float | None
    seconds: float


_COLUMNS = tuple(field.name for field in fields(LogRow))


class TrainingLog:
    """Appends rows to log.csv; each is on disk when `write` returns (in the page cache)."""

    def __init__(self, path: Path, keep_rows: int = 0) -> None:
        """Keep the first `keep_rows` rows of an existing file: a resume repeats the others."""
        kept = _lines(path)[1 : keep_rows + 1] if keep_rows else []
        text = "".join([",".join(_COLUMNS) + "\n", *kept])
        replace_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        self.path = path
        self.rows = len(kept)
        self._stream = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._stream, lineterminator="\n")

    def write(self, row: LogRow) -> None:
        """Append one row."""
        try:
            self._writer.writerow(_text(value) for value in asdict(row).values())
            self._stream.flush()
        except OSError as error:
            raise BasEdgeError(
                f"Cannot write {self.path}: {error.strerror}.", hint="Free some space, then resume."
            ) from error
        self.rows += 1

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()


def read_log(path: Path) -> list[LogRow]:
    """Every row of a log.csv."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [_row(record) for record in csv.DictReader(stream)]


def _row(record: Mapping[str, str]) -> LogRow:
    figures: dict[str, Any] = {
        name: float(record[name]) if record[name] else None for name in _COLUMNS[3:]
    }
    return LogRow(
        row=record["row"], epoch=int(record["epoch"]), step=int(record["step"]), **figures
    )


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]  # a killed write may leave half a row


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
