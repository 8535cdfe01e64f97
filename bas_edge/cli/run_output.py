"""Where the results of `bas-edge run` go: lines, annotated copies, the folder they lie in."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bas_edge.errors import InputError
from bas_edge.images import IMAGE_SUFFIXES
from bas_edge.video.inputs import RESULTS
from bas_edge.video.sinks.file_names import as_template, partial, prepare_folder
from bas_edge.video.sinks.json_lines import JsonLines, json_bytes

__all__ = ["CopyNames", "Results", "numbered", "output_folder"]

IMAGES = "images"  # the {stream} of their lines


class Results:
    """The JSON lines, to files and to stdout as asked. From any thread.

    Args:
        folder: Where `results.jsonl` goes; None: nowhere.
        to_stdout: Print them.
        also: A template of more files to append them to, or None.

    Attributes:
        lines: Results so far.
        found: Those with an object.
    """

    def __init__(self, folder: Path | None, *, to_stdout: bool, also: Path | None) -> None:
        self._path = None if folder is None else folder / RESULTS
        self._file: JsonLines | None = None
        self._also = None if also is None else JsonLines(also, go_on=False)
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._to_stdout = to_stdout
        self._lock = threading.Lock()
        self.lines = 0
        self.found = 0

    def add(self, line: dict[str, Any], stream: str = IMAGES, unix_s: float | None = None) -> None:
        """One result, one input that could not be used (it has "error"), or an event.

        Args:
            line: It.
            stream: Whose it is, and
            unix_s: when it was, for file names; None is now.

        Raises:
            InputError: A file of this name holds something else.
            BasEdgeError: A line cannot be written.
        """
        with self._lock:
            if "found" in line:
                self.lines += 1
                self.found += bool(line["found"])
            with contextlib.ExitStack() as each:  # also where another one fails
                if self._also is not None:
                    moment_s = time.time() if unix_s is None else unix_s
                    each.callback(self._also.add, line, stream, moment_s)
                if self._path is not None:
                    self._waiting.append((stream, line))
                    if "found" in line or self._file is not None:
                        each.callback(self._write, self._path)
                if self._to_stdout:
                    print(json_bytes(line).decode(), flush=True)

    def close(self) -> None:
        """Close the files."""
        for file in (self._file, self._also):
            if file is not None:
                file.close(complete=True)

    def _write(self, path: Path) -> None:
        """Opens the file late: a run without any result neither makes nor replaces one."""
        if self._file is None:
            path.unlink(missing_ok=True)
            self._file = JsonLines(as_template(path), go_on=False)
        while self._waiting:
            stream, line = self._waiting.pop(0)
            self._file.add(line, stream, 0.0)


class CopyNames:
    """Names in the output folder: each input's own, with a number where it is taken.

    Taken is what another copy has, what is an input itself, and, unless files may be replaced,
    what lies there.

    Args:
        folder: Where copies go; None: there are none.
        inputs: Image and video files.
        overwrite: Replace files that are no inputs.
    """

    def __init__(self, folder: Path | None, inputs: Iterable[Path], *, overwrite: bool) -> None:
        inputs = list(inputs)
        kept = {_identity(file) for file in inputs}
        stems: set[str] = set()
        self._names: dict[Path, Path] = {}
        for file in inputs if folder is not None else ():
            assert folder is not None
            for stem in numbered(file.stem):
                path = folder / f"{stem}{_suffix_of_copy(file)}"
                there = [one for one in (path, partial(path)) if one.exists()]
                mine = {stem, f"{stem}.partial"}
                if mine & stems or (there and not overwrite):
                    continue
                if not any(_identity(one) in kept for one in there):
                    break
            stems |= mine
            self._names[file] = path

    def of(self, file: Path) -> Path | None:
        """Where the copy of an input goes; None where none is wanted."""
        return self._names.get(file)


@contextlib.contextmanager
def output_folder(output: Path | None, *, overwrite: bool, wanted: bool) -> Iterator[Path | None]:
    """The folder for everything that is written; one made here is gone if it stays empty.

    Args:
        output: As asked for; None is the first of out, out-2 … that is free.
        overwrite: Replace the results of another run in it.
        wanted: Whether there is to be one where none was asked for.

    Raises:
        InputError: It holds the results of another run, or cannot be written to.
    """
    if output is None and not wanted:
        yield None
        return
    if output is None:
        output = next(path for name in numbered("out") if not (path := Path(name)).exists())
    elif (output / RESULTS).exists() and not overwrite:
        raise InputError(
            f"{output} already holds the results of another run.",
            hint="Give another --output, or --overwrite.",
        )
    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    prepare_folder(output, hint="Give another --output.")
    try:
        yield output
    finally:
        with contextlib.suppress(OSError):  # it holds something
            for folder in made:
                folder.rmdir()


def numbered(name: str) -> Iterator[str]:
    """NAME, NAME-2, NAME-3 and so on."""
    return itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))


def _suffix_of_copy(file: Path) -> str:
    if file.suffix.lower() not in IMAGE_SUFFIXES:
        return ".mp4"
    return ".jpg" if file.suffix.lower() in (".jpg", ".jpeg") else ".png"


def _identity(path: Path) -> tuple[int, int]:
    """What two names of one file have in common."""
    status = path.stat()
    return status.st_dev, status.st_ino
