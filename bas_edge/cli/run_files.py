"""`bas-edge run` on image and video files, one after another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bas_edge.cli.run_output import AnnotatedNames, Results
from bas_edge.cli.run_request import Opened, RunRequest
from bas_edge.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress

    from bas_edge.localizer import Localizer
    from bas_edge.video import VideoSummary
    from bas_edge.video.inputs import Inputs
    from bas_edge.video.sinks.sink import Sink

__all__ = ["FileRun"]


class FileRun:
    """A file that cannot be used is named and skipped.

    Attributes:
        failures: A sentence for each input that could not be used in full.
        summaries: Of each video.
    """

    def __init__(
        self,
        request: RunRequest,
        opened: Opened,
        annotated: AnnotatedNames,
        results: Results,
        bar: Progress,
    ) -> None:
        self.failures: list[str] = []
        self.summaries: list[VideoSummary] = []
        self._request = request
        self._opened = opened
        self._annotated = annotated
        self._results = results
        self._bar = bar

    def run(self, found: Inputs) -> None:
        """Localize everything."""
        self.images(found.images)
        if self._opened.videos is not None:
            for file in found.videos:
                self._video(self._opened.videos, file)

    def summary(self) -> dict[str, Any]:
        """For the last line of --json."""
        return {"videos": self.summaries}

    def images(self, files: tuple[Path, ...]) -> None:
        """Localize image files."""
        localizer = self._opened.images
        if localizer is None:
            return
        from PIL import Image

        from bas_edge.video.stills import localize_images

        task = self._bar.add_task("images", total=len(files), note="")
        for result in localize_images(localizer, files):
            line = result.to_dict()
            if result.localization is None or result.pixels is None:
                self.failures.append(str(result.error))
            elif (copy := self._annotated.image(result.source)) is not None:
                drawn = result.localization.draw(result.pixels, color="rgb")
                Image.fromarray(drawn).save(copy)
                line["annotated"] = str(copy)
            self._results.add(line)
            self._bar.advance(task)

    def _video(self, localizer: Localizer, file: Path) -> None:
        from bas_edge.video.frames import FrameResult
        from bas_edge.video.video_job import localize_video

        request = self._request
        task = self._bar.add_task(file.name, total=None, note="")

        def on_frame(result: FrameResult) -> None:
            self._results.add({"source": str(file), **result.to_dict()})
            rate = 1000 / max(result.localization.timing.total_ms, 1e-3)
            self._bar.update(task, advance=1, note=f"{rate:.0f} frames/s")

        sinks: list[Sink] = []
        try:
            sinks = request.more_sinks(live=False)
            summary = localize_video(
                localizer,
                file,
                annotated=self._annotated.video(file),
                codec=request.codec,
                workers=self._opened.workers,
                policy=request.policy or "wait",
                stride=request.stride,
                max_fps=request.max_fps,
                smooth=request.smoothing("off"),
                duration_s=request.duration_s,
                sinks=sinks,
                on_frame=on_frame,
            )
        except InputError as error:
            self.failures.append(f"{error} {error.hint or ''}".rstrip())
            self._results.add({"source": str(file), "error": str(error)})
            return
        self.summaries.append(summary)
        if summary.damage is not None:
            self.failures.append(summary.damage)
