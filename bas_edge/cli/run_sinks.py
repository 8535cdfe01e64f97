"""What `bas-edge run` does with the results of videos and cameras, beside writing files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bas_edge.cli.output import counted
from bas_edge.cli.run_output import Results
from bas_edge.errors import BasEdgeError
from bas_edge.finding import summary

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from bas_edge.video.frames import FrameResult, StreamEvent
    from bas_edge.video.sinks.sink import Sink

__all__ = ["CameraLines", "FileLines", "Watched"]


class FileLines:
    """A line for each frame of a video file; a `Sink`.

    Args:
        results: Where lines go.
        bar: Where progress is shown.
        source: The file.
        copy: Its annotated copy, if there is to be one.
    """

    def __init__(self, results: Results, bar: Progress, source: Path, copy: Path | None) -> None:
        self._results, self._row = results, _Row(bar)
        self._first = {"source": str(source)}
        self._last = {} if copy is None else {"annotated": str(copy)}

    def write(self, result: FrameResult) -> None:
        line = {**self._first, **result.to_dict(), **self._last}
        self._results.add(line, result.stream, result.frame.captured_at)
        rate = 1000 / max(result.finding.timing.total_ms, 1e-3)
        self._row.advance(result.stream, f"{rate:.0f} frames/s")

    def event(self, event: StreamEvent) -> None:
        """A file has nothing to tell."""

    def close(self, *, complete: bool) -> None:
        """The lines are closed by who opened them."""


class CameraLines:
    """A line for each frame of a camera and each change of its state, which is said too.

    Args:
        results, bar: As for `FileLines`.
        say: Prints a sentence.
        alone: It is the only source, so why it ended is said anyway.

    Attributes:
        error: The last one that its stream came across; None if there was none.
    """

    def __init__(
        self, results: Results, bar: Progress, *, say: Callable[[str], None], alone: bool
    ) -> None:
        self.error: BasEdgeError | None = None
        self._results, self._row = results, _Row(bar)
        self._say, self._alone = say, alone

    def write(self, result: FrameResult) -> None:
        self._results.add(result.to_dict(), result.stream, result.frame.captured_at)
        what = summary(result.finding) or "nothing"
        self._row.advance(result.stream, f"{what}, {result.age_ms:.0f} ms old")

    def event(self, event: StreamEvent) -> None:
        self.error = event.error or self.error
        told = self._alone and event.state == "ended" and event.error is not None
        reason = "" if told else event.reason
        self._say(f"{event.stream}: {event.state}" + (f": {reason}" if reason else ""))
        self._results.add(event.to_dict(), event.stream, event.at)

    def close(self, *, complete: bool) -> None:
        """The lines are closed by who opened them."""


class _Row:
    """One stream's row of the progress display, from its first result on."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def advance(self, stream: str, note: str) -> None:
        if self._task is None:
            self._task = self._bar.add_task(stream, total=None, note="")
        self._bar.update(self._task, advance=1, note=note)


class Watched:
    """A sink whose trouble is said when it comes and counted, and is the end of nothing else.

    What cannot be written is tried again with the next result.

    Args:
        sink: The sink.
        say: Prints a sentence.
        gone: Called where nobody reads what the sink prints any more.
    """

    def __init__(
        self, sink: Sink, *, say: Callable[[str], None], gone: Callable[[BrokenPipeError], None]
    ) -> None:
        self._sink, self._say, self._gone = sink, say, gone
        self._lost = 0
        self._troubled = False
        self._first = ""

    @property
    def losses(self) -> str | None:
        """One sentence on what was lost; None if nothing."""
        if not self._lost:
            return self._first or None
        return f"{counted(self._lost, 'result')} could not be written: {self._first}"

    def write(self, result: FrameResult) -> None:
        """Hand it on."""
        self._lost += not self._attempt(partial(self._sink.write, result))

    def event(self, event: StreamEvent) -> None:
        """Hand it on."""
        self._attempt(partial(self._sink.event, event))

    def close(self, *, complete: bool) -> None:
        """Hand it on."""
        self._say = lambda _: None  # the end of the run says it
        self._attempt(partial(self._sink.close, complete=complete))

    def _attempt(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except BrokenPipeError as error:
            self._gone(error)
            return False
        except (BasEdgeError, OSError) as error:
            if not self._troubled:
                self._say(str(error))
            self._troubled, self._first = True, self._first or str(error)
            return False
        self._troubled = False
        return True
