"""Where the results of `bas-edge run` go: lines, annotated copies, the folder they lie in."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from bas_edge.cli.output import json_line, print_json
from bas_edge.errors import BasEdgeError, InputError, PartialFailureError

__all__ = ["RESULTS", "AnnotatedNames", "Results", "output_folder", "raise_failures"]

RESULTS = "results.jsonl"


class Results:
    """The JSON lines, to the file and to stdout as asked. From any thread."""

    def __init__(self, stack: ExitStack, folder: Path | None, to_stdout: bool) -> None:
        self._stack = stack
        self._path = None if folder is None else folder / RESULTS
        self._file: TextIO | None = None
        self._waiting: list[dict[str, Any]] = []
        self._to_stdout = to_stdout
        self._lock = threading.Lock()
        self.lines = 0
        self.found = 0

    def add(self, line: dict[str, Any]) -> None:
        """One result, one input that could not be used (it has "error"), or an event."""
        with self._lock:
            self._add(line)

    def _add(self, line: dict[str, Any]) -> None:
        if self._path is not None:
            self._waiting.append(line)
            if "found" in line or self._file is not None:
                self._write(self._path)
        if self._to_stdout:
            print_json(line)
        if "found" in line:
            self.lines += 1
            self.found += bool(line["found"])

    def _write(self, path: Path) -> None:
        """Opens the file late: a run without any result neither makes nor replaces one."""
        if self._file is None:
            self._file = self._stack.enter_context(path.open("w", encoding="utf-8"))
        self._file.writelines(json_line(line) + "\n" for line in self._waiting)
        self._waiting.clear()


class AnnotatedNames:
    """Names in the output folder: each input's own, with a number where two are the same."""

    def __init__(self, folder: Path | None, files: list[Path]) -> None:
        self._names: dict[Path, Path] = {}
        taken: set[str] = set()
        for file in files if folder is not None else ():
            suffix = ".jpg" if file.suffix.lower() in (".jpg", ".jpeg") else ".png"
            assert folder is not None
            for name in _numbered(file.stem):
                if name not in taken:
                    break
            taken.add(name)
            self._names[file] = folder / f"{name}{suffix}"

    def image(self, file: Path) -> Path | None:
        """Where the copy of an image goes; None where none is wanted."""
        return self._names.get(file)

    def video(self, file: Path) -> Path | None:
        """Where the copy of a video goes; None where none is wanted."""
        name = self._names.get(file)
        return None if name is None else name.with_suffix(".mp4")


@contextlib.contextmanager
def output_folder(output: Path | None, overwrite: bool, as_json: bool) -> Iterator[Path | None]:
    """The folder for everything that is written; one made here is gone if it stays empty."""
    if output is None and as_json:
        yield None
        return
    if output is None:
        output = next(path for name in _numbered("out") if not (path := Path(name)).exists())
    elif (output / RESULTS).exists() and not overwrite:
        raise InputError(
            f"{output} already holds the results of another run.",
            hint="Give another --output, or --overwrite.",
        )
    from bas_edge.video.sinks.file_names import prepare_folder

    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    prepare_folder(output, hint="Give another --output.")
    try:
        yield output
    finally:
        with contextlib.suppress(OSError):  # it holds something
            for folder in made:
                folder.rmdir()


def raise_failures(
    failures: list[str], inputs: int, localized: int, error: BasEdgeError | None = None
) -> None:
    """Nothing where nothing failed.

    Raises:
        PartialFailureError: Some inputs failed.
        BasEdgeError: All did: `error`, or an InputError.
    """
    if not failures:
        return
    if localized == 0 and inputs == 1 and error is not None:
        raise error
    what = " ".join(failures[:5]) + (f" … and {len(failures) - 5} more." if failures[5:] else "")
    if localized == 0:
        raise InputError(what, hint="No input could be used.")
    raise PartialFailureError(
        f"{len(failures)} of {inputs} inputs could not be used in full: {what}",
        hint="The results of everything else are complete.",
    )


def _numbered(name: str) -> Iterator[str]:
    return itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
