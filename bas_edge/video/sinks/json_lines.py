"""Results and states of streams as lines of JSON, while they come."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sinks.disk_sink import DiskSink
from bas_edge.video.sinks.file_names import NameTemplate
from bas_edge.video.sinks.line_files import LineFiles, LineKind

__all__ = ["JsonLines", "json_bytes"]


def json_bytes(value: dict[str, Any]) -> bytes:
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


def _is_ours(line: bytes) -> bool:
    try:
        keys = msgspec.json.decode(line, type=dict[str, Any]).keys()
    except (msgspec.DecodeError, RecursionError):
        return False
    of_a_stream = "stream" in keys and ("frame" in keys or "event" in keys)
    return of_a_stream or ("source" in keys and ("found" in keys or "error" in keys))


def _is_begun(line: bytes) -> bool:
    """Whether a power cut may have left this of the only line."""
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        ours = (b'{"stream":"', b'{"event":"state","stream":"', b'{"source":"')
        return any(one.startswith(line) or line.startswith(one) for one in ours)
    return False


_LINES = LineKind("lines of JSON", first=_is_ours, whole=_is_ours, begun=_is_begun)


class JsonLines(DiskSink):
    """A sink that writes each result, and each change of a stream's state, as a line of JSON.

    docs/jsonl.md names every key. Lines are handed to the system one by one, so `tail -f` shows
    them as they come and a crash costs none; a power cut can cost the last ones. A line that it
    tore is removed when the file is opened again.

    Args:
        path: A template with {stream} and {date} (UTC): "{stream}-{date}.jsonl". Streams may share
            a file. The file is appended to, if its lines are such lines.
        states: Write the changes of state too.
        max_bytes: Once a file has so many, it becomes NAME.1.jsonl, that one NAME.2.jsonl, and so
            on. None lets it grow, and removes nothing.
        keep: With max_bytes, how many older files of a stream there may be, of all dates together;
            the oldest goes.
        go_on: After a line that could not be written, as on a full disk, try the next one. False
            raises at once.

    Attributes:
        problem: What cannot be written at the moment; "" while all is well.
        dropped: Lines that could not be written.

    Raises:
        InputError: The template or folder cannot be used, or the file holds something else.
        BasEdgeError: A line cannot be written; with `go_on` it is raised by `close`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        states: bool = True,
        max_bytes: int | None = None,
        keep: int = 5,
        go_on: bool = True,
    ) -> None:
        super().__init__(go_on=go_on)
        self._states = states
        self._files = LineFiles(
            NameTemplate(path, allowed=("stream", "date")),
            _LINES,
            max_bytes=max_bytes,
            keep=keep,
        )

    def add(self, line: dict[str, Any], stream: str, unix_s: float) -> None:
        """One line of the caller's, as if it were of this stream and moment."""
        with self._attempt(stream):
            self._files.write(stream, unix_s, json_bytes(line))
            self._worked(stream)

    def write(self, result: FrameResult) -> None:
        """One line: `FrameResult.to_dict()`."""
        self.add(result.to_dict(), result.stream, result.frame.captured_at)

    def event(self, event: StreamEvent) -> None:
        """One line: `StreamEvent.to_dict()`."""
        if self._states:
            self.add(event.to_dict(), event.stream, event.at)

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (each line is whole in any case)
        """Close the files."""
        self._files.close()
        self._tell_losses()
