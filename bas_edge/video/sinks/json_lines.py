"""Results and states of streams as lines of JSON, while they come."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from bas_edge.errors import InputError
from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sinks.file_names import NameTemplate
from bas_edge.video.sinks.line_files import LineFiles

__all__ = ["JsonLines", "json_line"]


def json_line(value: dict[str, Any]) -> bytes:
    """Strict JSON in UTF-8, on one line, without the newline.

    Numbers that JSON does not know (NaN, infinity) become null, and what is no text in UTF-8,
    such as the odd byte in a file name, becomes "?".
    """
    return msgspec.json.encode(_plain(value))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # NumPy numbers and arrays
        value = value.tolist()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


class JsonLines:
    """A sink that writes each result, and each change of a stream's state, as a line of JSON.

    docs/jsonl.md names every key. Lines are handed to the system one by one, so `tail -f` shows
    them as they come and a crash costs none; a power cut can cost the last ones. A line that it
    tore is removed when the file is opened again.

    Args:
        path: A template with {stream} and {date} (UTC): "{stream}-{date}.jsonl". Streams may share
            a file. The file is appended to.
        states: Write the changes of state too.
        max_bytes: Once a file has so many, it becomes NAME.1.jsonl, that one NAME.2.jsonl, and so
            on. None lets it grow.
        keep: How many such older files there may be; the oldest goes.

    Raises:
        InputError: The template or folder cannot be used, or the file holds something else.
        BasEdgeError: A line cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        states: bool = True,
        max_bytes: int | None = None,
        keep: int = 5,
    ) -> None:
        self._states = states
        self._files = LineFiles(
            NameTemplate(path, allowed=("stream", "date")),
            looks_right=_looks_right,
            max_bytes=max_bytes,
            keep=keep,
        )

    def write(self, result: FrameResult) -> None:
        """One line: `FrameResult.to_dict()`."""
        line = json_line(result.to_dict())
        self._files.write(result.stream, result.frame.captured_at, line)

    def event(self, event: StreamEvent) -> None:
        """One line: `StreamEvent.to_dict()`."""
        if self._states:
            self._files.write(event.stream, event.at, json_line(event.to_dict()))

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (each line is whole in any case)
        """Close the files."""
        self._files.close()


def _looks_right(path: Path, first_line: bytes) -> None:
    if not first_line.startswith(b"{"):
        raise InputError(
            f"{path} exists and holds something else than lines of JSON.",
            hint="Name another file, or move this one away.",
        )
