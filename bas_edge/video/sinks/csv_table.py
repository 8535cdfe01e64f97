"""Results as a table for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from bas_edge.finding import FoundObject
from bas_edge.video.frames import FrameResult, StreamEvent, utc
from bas_edge.video.sinks.disk_sink import DiskSink
from bas_edge.video.sinks.file_names import NameTemplate
from bas_edge.video.sinks.line_files import LineFiles, LineKind

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
    "area",
    "x0",
    "y0",
    "x1",
    "y1",
    "width",
    "height",
    "total_ms",
)


def _rounded(value: float | None, digits: int) -> float | str:
    return "" if value is None else round(float(value), digits)


def _row(cells: tuple[object, ...]) -> bytes:
    text = io.StringIO()
    end = "\r\n"  # cells with either of them are quoted; the row itself ends in "\n"
    csv.writer(text, lineterminator=end).writerow(cells)
    return text.getvalue().removesuffix(end).encode("utf-8", "replace")


def _is_header(line: bytes) -> bool:
    return line.rstrip(b"\r") == _HEADER


def _is_whole(line: bytes) -> bool:
    cells = next(csv.reader([line.decode("utf-8", "replace")]), [])
    return len(cells) == len(COLUMNS) and cells[-1].replace(".", "", 1).isdecimal()


_HEADER = _row(COLUMNS)
_ROWS = LineKind(
    f"a table of the columns {','.join(COLUMNS)}",
    first=_is_header,
    whole=_is_whole,
    begun=_HEADER.startswith,
    header=_HEADER,
)


class Csv(DiskSink):
    """A sink that writes each object as a row; UTF-8, comma-separated, quoted where needed.

    A result without any object has one row too.

    docs/sinks.md says what the columns hold. States of streams have no row: what they cost shows
    in `dropped` and `gap_s`. Rows are handed to the system one by one, as those of `JsonLines`.

    Args:
        path: A template with {stream} and {date} (UTC). Streams may share a file. The file is
            appended to, if its columns are these.
        max_bytes: Once a file has so many, it becomes NAME.1.csv, and so on. None removes nothing.
        keep: With max_bytes, how many older files of a stream there may be, of all dates together.
        go_on: As for `JsonLines`.

    Attributes:
        problem: What cannot be written at the moment; "" while all is well.
        dropped: Rows that could not be written.

    Raises:
        InputError: The template or folder cannot be used, or the file has other columns.
        BasEdgeError: A row cannot be written; with `go_on` it is raised by `close`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_bytes: int | None = None,
        keep: int = 5,
        go_on: bool = True,
    ) -> None:
        super().__init__(go_on=go_on)
        self._files = LineFiles(
            NameTemplate(path, allowed=("stream", "date")), _ROWS, max_bytes=max_bytes, keep=keep
        )

    def write(self, result: FrameResult) -> None:
        """A row of each object, or one without."""
        with self._attempt(result.stream):
            for one in result.finding.objects or (result.finding.best,):
                row = _row(_cells(result, one))
                self._files.write(result.stream, result.frame.captured_at, row)
            self._worked(result.stream)

    def event(self, event: StreamEvent) -> None:
        """States have no row."""

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (each row is whole in any case)
        """Close the files."""
        self._files.close()
        self._tell_losses()


def _cells(result: FrameResult, one: FoundObject | None) -> tuple[object, ...]:
    frame, finding = result.frame, result.finding
    height, width = finding.frame_size
    what: tuple[object, ...] = ("",) * 8
    if one is not None:
        what = (
            one.label,
            one.class_name,
            _rounded(one.score, 6),
            _rounded(one.area, 6),
            *(_rounded(edge, 3) for edge in one.box),
        )
    return (
        result.stream,
        frame.index,
        round(frame.time_s, 6),
        utc(frame.captured_at),
        round(result.age_ms, 3),
        frame.dropped,
        round(frame.gap_s, 3),
        "true" if finding.found else "false",
        *what,
        width,
        height,
        round(finding.timing.total_ms, 3),
    )
