"""Results as a table for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from bas_edge.errors import InputError
from bas_edge.video.frames import FrameResult, StreamEvent, utc
from bas_edge.video.sinks.file_names import NameTemplate
from bas_edge.video.sinks.line_files import LineFiles

__all__ = ["COLUMNS", "Csv"]

COLUMNS = (
    "stream",
    "frame",
    "time_s",
    "captured_at",
    "age_ms",
    "dropped",
    "gap_s",
    "found",
    "label",
    "class_name",
    "score",
    "x0",
    "y0",
    "x1",
    "y1",
    "width",
    "height",
    "total_ms",
)


class Csv:
    """A sink that writes each result as a row; UTF-8, comma-separated, quoted where needed.

    docs/sinks.md says what the columns hold. States of streams have no row: what they cost shows
    in `dropped` and `gap_s`. Rows are handed to the system one by one, as those of `JsonLines`.

    Args:
        path: A template with {stream} and {date} (UTC). Streams may share a file. The file is
            appended to, if its columns are these.
        max_bytes: Once a file has so many, it becomes NAME.1.csv, and so on.
        keep: How many such older files there may be.

    Raises:
        InputError: The template or folder cannot be used, or the file has other columns.
        BasEdgeError: A row cannot be written.
    """

    def __init__(self, path: str | Path, *, max_bytes: int | None = None, keep: int = 5) -> None:
        self._files = LineFiles(
            NameTemplate(path, allowed=("stream", "date")),
            looks_right=_looks_right,
            header=_row(COLUMNS),
            max_bytes=max_bytes,
            keep=keep,
        )

    def write(self, result: FrameResult) -> None:
        """One row."""
        frame, found = result.frame, result.localization
        height, width = found.frame_size
        row = (
            result.stream,
            frame.index,
            round(frame.time_s, 6),
            utc(frame.captured_at),
            round(result.age_ms, 3),
            frame.dropped,
            round(frame.gap_s, 3),
            "true" if found.found else "false",
            found.label,
            found.class_name,
            round(float(found.score), 6),
            *(round(float(edge), 3) for edge in found.box),
            width,
            height,
            round(found.timing.total_ms, 3),
        )
        self._files.write(result.stream, frame.captured_at, _row(row))

    def event(self, event: StreamEvent) -> None:
        """States have no row."""

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (each row is whole in any case)
        """Close the files."""
        self._files.close()


def _row(cells: tuple[object, ...]) -> bytes:
    text = io.StringIO()
    end = "\r\n"  # cells with either of them are quoted; the row itself ends in "\n"
    csv.writer(text, lineterminator=end).writerow(cells)
    return text.getvalue().removesuffix(end).encode("utf-8", "replace")


def _looks_right(path: Path, first_line: bytes) -> None:
    if first_line.rstrip(b"\r") != _row(COLUMNS):
        raise InputError(
            f"{path} exists and has other columns than {','.join(COLUMNS)}.",
            hint="Name another file, or move this one away.",
        )
