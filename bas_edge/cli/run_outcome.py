"""How a `bas-edge run` went: what is printed at its end, and what it ends with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bas_edge.cli.output import counted, print_json, print_rows
from bas_edge.cli.run_output import Results
from bas_edge.errors import BasEdgeError, InputError, PartialFailureError, StreamError
from bas_edge.video.inputs import RESULTS

if TYPE_CHECKING:
    from bas_edge.video import VideoSummary

__all__ = ["Outcome"]

_NAMED = 5


@dataclass(slots=True)
class Outcome:
    """How each input went.

    Attributes:
        inputs: How many there are.
        failures: A sentence for each that could not be used in full.
        errors: What cameras among them ended with.
        losses: A sentence for each output that lacks something.
        videos: A summary of each video file.
        streams: The numbers of each camera.
        cut: The video file that a signal stopped, if it did.
        done: What was done with frames.
    """

    inputs: int
    failures: list[str] = field(default_factory=list)
    errors: list[BasEdgeError] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    videos: list[VideoSummary] = field(default_factory=list)
    streams: list[dict[str, Any]] = field(default_factory=list)
    cut: VideoSummary | None = None
    done: str = "localized"

    def print(self, results: Results, folder: Path | None, *, as_json: bool, file: TextIO) -> None:
        """The summary: one object of JSON, or text if there is any result."""
        written = folder if results.lines else None
        if as_json:
            summary = {
                "inputs": self.inputs,
                "localized": results.lines,
                "found": results.found,
                "skipped": self.failures,
                "videos": self.videos,
                "streams": self.streams,
                "output": written,
            }
            print_json({"summary": summary})
            return
        if results.lines:
            count = counted(results.lines, "frame")
            print(f"{count} {self.done}, an object found in {results.found}", file=file)
        for video in self.videos:
            _print_video(video, file)
        for stream in self.streams:
            _print_stream(stream, self.done, file)
        if written is not None:
            print(f"\nWritten to {written}", file=file)

    def interrupted(self, results: Results, folder: Path | None) -> str:
        """Where a signal stopped it, and what there is up to there."""
        if not results.lines:
            return "Interrupted."
        text = f"Interrupted after {counted(results.lines, 'frame')}"
        there = [] if folder is None else [str(folder / RESULTS)]
        if self.cut is not None and self.cut.annotated is not None:
            there.append(f"{self.cut.annotated}, which plays")
        return f"{text}: see {' and '.join(there)}." if there else f"{text}."

    def check(self, localized: int) -> None:
        """Nothing where nothing failed.

        Args:
            localized: How many results there are.

        Raises:
            PartialFailureError: Some inputs failed.
            BasEdgeError: All did: what the only input ended with, or a StreamError where all are
                cameras, or an InputError. Or an output lacks something.
        """
        failures, errors = self.failures, self.errors
        more = len(failures) - _NAMED
        what = " ".join(failures[:_NAMED]) + (f" … and {more} more." if more > 0 else "")
        if self.losses:
            raise BasEdgeError(
                " ".join([*self.losses, what]).rstrip(),
                hint="Check the folder, its permissions and the space that is left.",
            )
        if not failures:
            return
        if localized == 0 and self.inputs == 1 and errors:
            raise errors[0]
        if localized == 0:
            kind = StreamError if len(errors) == len(failures) else InputError
            raise kind(what, hint="No input could be used.")
        raise PartialFailureError(
            f"{len(failures)} of {self.inputs} inputs could not be used in full: {what}",
            hint="The results of everything else are complete.",
        )


def _print_video(one: VideoSummary, file: TextIO) -> None:
    print(
        f"\n{one.source}: {counted(one.frames, 'frame')} in {one.seconds:.1f} s, "
        f"{one.fps:.1f} frames/s ({one.late} late for {one.source_fps:.4g} frames/s)",
        file=file,
    )
    rows = (
        (name.removesuffix("_ms"), f"p50 {each['p50']:7.2f} ms", f"p90 {each['p90']:7.2f} ms")
        for name, each in one.stages.items()
    )
    print_rows(rows, file=file)


def _print_stream(one: dict[str, Any], done: str, file: TextIO) -> None:
    if one["results"] == 0:
        print(f"\n{one['stream']}: nothing {done}", file=file)
        return
    print(
        f"\n{one['stream']}: {counted(one['results'], 'frame')}, {one['fps']:.1f} frames/s, "
        f"{one['dropped']} dropped, {one['damaged']} damaged, "
        f"connected {counted(one['connections'], 'time')}",
        file=file,
    )
    ages = (f"{name} {value:7.2f} ms" for name, value in one["age_ms"].items())
    print_rows([("age", *ages)], file=file)
