"""Results as a table for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from pathlib import Path

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
    "x0",
    "y0",
    "x1",
    "y1",
    "width",
    "height",
    "total_ms",
)


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
    """A sink that writes each result as a row; UTF-8, comma-separated, quoted where needed.

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
        with self._attempt(result.stream):
            self._files.write(result.stream, frame.captured_at, _row(row))
            self._worked(result.stream)

    def event(self, event: StreamEvent) -> None:
        """States have no row."""

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (each row is whole in any case)
        """Close the files."""
        self._files.close()
        self._tell_losses()
