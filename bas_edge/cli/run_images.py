"""`bas-edge run` on image files, one after another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bas_edge.cli.run_output import CopyNames, Results

if TYPE_CHECKING:
    from rich.progress import Progress

    from bas_edge.video.frame_engine import FrameEngine

__all__ = ["run_images"]


def run_images(
    engine: FrameEngine,
    files: tuple[Path, ...],
    names: CopyNames,
    results: Results,
    bar: Progress,
) -> list[str]:
    """Run the engine on image files, with a line and a copy of each.

    Returns:
        A sentence for each file that could not be used; it is skipped.

    Raises:
        BackendError: Inference failed.
        BasEdgeError: A line or a copy cannot be written.
    """
    from bas_edge.video.stills import localize_images, write_image

    failures = []
    task = bar.add_task("images", total=len(files), note="")
    for result in localize_images(engine, files):
        line = result.to_dict()
        if result.finding is None or result.pixels is None:
            failures.append(str(result.error))
        elif (copy := names.of(result.source)) is not None:
            write_image(copy, result.finding.draw(result.pixels, color="rgb"))
            line["annotated"] = str(copy)
        results.add(line)
        bar.advance(task)
    return failures
