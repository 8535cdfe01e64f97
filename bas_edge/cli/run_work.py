"""What `bas-edge run` does: open the engine, localize every input, say how it went."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bas_edge.cli.output import done_word
from bas_edge.cli.run_ending import Ending
from bas_edge.cli.run_images import run_images
from bas_edge.cli.run_outcome import Outcome
from bas_edge.cli.run_output import CopyNames, Results, output_folder
from bas_edge.cli.run_request import RunRequest
from bas_edge.cli.run_videos import VideoRun
from bas_edge.video.inputs import Inputs, find_inputs
from bas_edge.video.sources.addresses import redacted_uri

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["work"]


def work(request: RunRequest, inputs: list[str], bar: Progress, ending: Ending) -> None:
    """Everything, from the engine to the summary.

    Raises:
        KeyboardInterrupt: A signal came before everything was done.
        PartialFailureError: Some inputs could not be used.
        BasEdgeError: None could, or an output could not be written.
    """
    found = find_inputs(inputs)
    request.check(found)
    for uri in found.live:
        if inputs.count(uri) > 1:
            print(f"note: {redacted_uri(uri)} was given twice and is read once.", file=sys.stderr)
    outcome = Outcome(len(found.images) + len(found.videos) + len(found.live))
    wanted = not request.json or bool(request.save)
    with ExitStack() as stack:
        folder = stack.enter_context(
            output_folder(request.output, overwrite=request.overwrite, wanted=wanted)
        )
        results = Results(folder, to_stdout=request.lines_to_stdout, also=request.jsonl)
        stack.callback(results.close)
        try:
            _localize(request, found, folder, results, bar, ending, outcome)
        except BaseException as error:
            # A library that is stopped while it is imported raises whatever it likes.
            if isinstance(error, KeyboardInterrupt) or ending.given_up:
                raise KeyboardInterrupt(outcome.interrupted(results, folder)) from None
            raise
    file = sys.stderr if request.lines_to_stdout else sys.stdout
    outcome.print(results, folder, as_json=request.json, file=file)
    outcome.check(results.lines)


def _localize(
    request: RunRequest,
    found: Inputs,
    folder: Path | None,
    results: Results,
    bar: Progress,
    ending: Ending,
    outcome: Outcome,
) -> None:
    copies = None if request.save is False else folder
    files = [*found.images, *found.videos]
    names = CopyNames(copies, files, overwrite=request.overwrite)
    with ExitStack() as stack:
        opened = request.open(stack, found)
        outcome.done = done_word(opened.task)
        if opened.images is not None:
            outcome.failures += run_images(opened.images, found.images, names, results, bar)
        if opened.videos is None:
            return
        videos = VideoRun(
            request,
            opened.videos,
            opened.workers,
            folder=folder,
            names=names,
            results=results,
            bar=bar,
            ending=ending,
            outcome=outcome,
        )
        videos.run(found)
