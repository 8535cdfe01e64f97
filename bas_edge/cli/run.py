"""`bas-edge run`: boxes on images and videos."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from bas_edge.cli.options import Backend, Engine, Json, Threads
from bas_edge.cli.output import counted, json_line, print_json, print_rows, progress_bar
from bas_edge.errors import InputError, PartialFailureError

if TYPE_CHECKING:
    from rich.progress import Progress

    from bas_edge.localizer import Localizer
    from bas_edge.video import VideoSummary

__all__ = ["command"]

RESULTS = "results.jsonl"


def command(
    engine: Engine,
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Images, videos, folders or globs.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for results.jsonl and annotated files. Default: the first of out, out-2, "
            "… that is free; with --json, nothing is written.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results in an existing --output.")
    ] = False,
    annotate: Annotated[
        bool, typer.Option("--annotate/--no-annotate", help="Write copies with the boxes drawn.")
    ] = True,
    codec: Annotated[
        str, typer.Option("--codec", help="FFmpeg encoder of annotated videos.")
    ] = "auto",
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Where maps are cut. Default: the engine's.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", help="Class maps to average. Default: the engine's.")
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", help="Class score for an object. Default: the engine's."),
    ] = None,
    max_boxes: Annotated[int, typer.Option("--max-boxes", min=1, help="Boxes a frame.")] = 1,
    threads: Threads = None,
    backend: Backend = "auto",
    device: Annotated[
        int, typer.Option("--device", min=0, help="GPU of a TensorRT backend, as CUDA counts.")
    ] = 0,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild", help="Build the engine's plan again if it does not fit this machine."
        ),
    ] = False,
    json_output: Json = False,
) -> None:
    """Find the object in images and video frames: one JSON line each, and annotated copies."""
    from bas_edge import Localizer
    from bas_edge.video.inputs import find_inputs

    found = find_inputs(inputs)
    with ExitStack() as stack:
        localizer = stack.enter_context(
            Localizer(
                engine,
                backend=backend,
                threads=threads,
                threshold=threshold,
                top_k=top_k,
                min_score=min_score,
                max_boxes=max_boxes,
                device=device,
                rebuild=rebuild,
            )
        )
        folder = stack.enter_context(_output_folder(output, overwrite, json_output))
        results = _Results(stack, folder, json_output)
        annotated = _AnnotatedNames(folder if annotate else None, [*found.images, *found.videos])
        bar = stack.enter_context(progress_bar())
        failures = _run_images(localizer, found.images, annotated, results, bar)
        summaries: list[VideoSummary] = []
        failures += _run_videos(localizer, found.videos, annotated, results, bar, codec, summaries)
    total = len(found.images) + len(found.videos)
    written = folder if results.lines else None
    _print_summary(total, results, summaries, failures, written, json_output)
    _raise_failures(failures, total, results.lines)


class _Results:
    """The JSON lines, to the file and to stdout as asked."""

    def __init__(self, stack: ExitStack, folder: Path | None, to_stdout: bool) -> None:
        self._stack = stack
        self._path = None if folder is None else folder / RESULTS
        self._file: TextIO | None = None
        self._waiting: list[dict[str, Any]] = []
        self._to_stdout = to_stdout
        self.lines = 0
        self.found = 0

    def add(self, line: dict[str, Any]) -> None:
        if self._path is not None:
            self._waiting.append(line)
            if "error" not in line or self._file is not None:
                self._write(self._path)
        if self._to_stdout:
            print_json(line)
        if "error" not in line:
            self.lines += 1
            self.found += bool(line["found"])

    def _write(self, path: Path) -> None:
        """Opens the file late: a run without any result neither makes nor replaces one."""
        if self._file is None:
            self._file = self._stack.enter_context(path.open("w", encoding="utf-8"))
        self._file.writelines(json_line(line) + "\n" for line in self._waiting)
        self._waiting.clear()


class _AnnotatedNames:
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
        return self._names.get(file)

    def video(self, file: Path) -> Path | None:
        name = self._names.get(file)
        return None if name is None else name.with_suffix(".mp4")


def _run_images(
    localizer: Localizer,
    files: tuple[Path, ...],
    annotated: _AnnotatedNames,
    results: _Results,
    bar: Progress,
) -> list[str]:
    from PIL import Image

    from bas_edge.video.stills import localize_images

    failures = []
    task = bar.add_task("images", total=len(files), note="", visible=bool(files))
    for result in localize_images(localizer, files):
        line = result.to_dict()
        if result.localization is None or result.pixels is None:
            failures.append(str(result.error))
        elif (copy := annotated.image(result.source)) is not None:
            drawn = result.localization.draw(result.pixels, color="rgb")
            Image.fromarray(drawn).save(copy)
            line["annotated"] = str(copy)
        results.add(line)
        bar.advance(task)
    return failures


def _run_videos(
    localizer: Localizer,
    files: tuple[Path, ...],
    annotated: _AnnotatedNames,
    results: _Results,
    bar: Progress,
    codec: str,
    summaries: list[VideoSummary],
) -> list[str]:
    from bas_edge.video.frames import FrameResult
    from bas_edge.video.video_job import localize_video

    failures = []
    for file in files:
        task = bar.add_task(file.name, total=None, note="")

        def on_frame(result: FrameResult, source: str = str(file), task: Any = task) -> None:
            results.add({"source": source, **result.to_dict()})
            bar.update(
                task,
                advance=1,
                note=f"{1000 / result.localization.timing.total_ms:.0f} frames/s",
            )

        try:
            summary = localize_video(
                localizer, file, annotated=annotated.video(file), codec=codec, on_frame=on_frame
            )
        except InputError as error:
            failures.append(f"{error} {error.hint or ''}".rstrip())
            results.add({"source": str(file), "error": str(error)})
            continue
        summaries.append(summary)
        if summary.damage is not None:
            failures.append(summary.damage)
    return failures


@contextlib.contextmanager
def _output_folder(output: Path | None, overwrite: bool, as_json: bool) -> Iterator[Path | None]:
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
    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(
            f"{output} is a file, so no results can be put in it.", hint="Give another --output."
        ) from None
    except OSError as error:
        raise InputError(
            f"Cannot make the folder {output}: {error.strerror}.", hint="Give another --output."
        ) from error
    if not os.access(output, os.W_OK):
        raise InputError(
            f"The folder {output} cannot be written to.", hint="Give another --output."
        )
    try:
        yield output
    finally:
        with contextlib.suppress(OSError):  # it holds something
            for folder in made:
                folder.rmdir()


def _print_summary(
    inputs: int,
    results: _Results,
    summaries: list[VideoSummary],
    failures: list[str],
    folder: Path | None,
    as_json: bool,
) -> None:
    if as_json:
        summary = {
            "inputs": inputs,
            "localized": results.lines,
            "found": results.found,
            "skipped": failures,
            "videos": summaries,
            "output": folder,
        }
        print_json({"summary": summary})
        return
    print(f"{counted(results.lines, 'frame')} localized, an object found in {results.found}")
    for video in summaries:
        print(
            f"\n{video.source}: {counted(video.frames, 'frame')} in {video.seconds:.1f} s, "
            f"{video.fps:.1f} frames/s ({video.late} late for {video.source_fps:.4g} frames/s)"
        )
        print_rows(
            (name.removesuffix("_ms"), f"p50 {each['p50']:7.2f} ms", f"p90 {each['p90']:7.2f} ms")
            for name, each in video.stages.items()
        )
    if folder is not None:
        print(f"\nWritten to {folder}")


def _raise_failures(failures: list[str], inputs: int, localized: int) -> None:
    if not failures:
        return
    what = " ".join(failures[:5]) + (f" … and {len(failures) - 5} more." if failures[5:] else "")
    if localized == 0:
        raise InputError(what, hint="No input could be used.")
    raise PartialFailureError(
        f"{len(failures)} of {inputs} inputs could not be used in full: {what}",
        hint="The results of everything else are complete.",
    )


def _numbered(name: str) -> Iterator[str]:
    return itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
