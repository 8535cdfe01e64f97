"""Cut-outs of what was found, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.results import Box
from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sinks.disk_sink import DiskSink
from bas_edge.video.sinks.file_names import (
    NameTemplate,
    moment_fields,
    partial,
    writing,
)
from bas_edge.video.sinks.kept_files import KeptByStream
from bas_edge.video.sinks.ranges import check_not_negative

__all__ = ["Crops"]

_JPEG_QUALITY = 90


class Crops(DiskSink):
    """A sink that saves what the box of the largest object encloses, now and then.

    Args:
        path: A template with {stream}, {frame}, {class}, {date} and {time} (UTC); it needs {frame}
            and ends in .jpg, .jpeg or .png. A name that is taken is numbered.
        min_score: The least score that is worth a picture; a Segmenter gives none.
        interval_s: At most one picture of a stream in so many seconds.
        margin: How much of its width and height a box grows by on each side, within the frame.
        max_files: Keep so many pictures of each stream and remove the oldest, of its own only.
        max_bytes: The same by size.

    Attributes:
        min_score: As given.
        written: How many pictures were saved.
        problem: What cannot be written at the moment; "" while all is well.
        dropped: Pictures that could not be written.

    Raises:
        InputError: An argument or the folder cannot be used.
        BasEdgeError: A picture could not be written; raised by `close`.
    """

    unit: ClassVar[str] = "picture"

    def __init__(
        self,
        path: str | Path = "crops/{stream}-{frame:08d}-{class}.jpg",
        *,
        min_score: float = 0.0,
        interval_s: float = 1.0,
        margin: float = 0.1,
        max_files: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        super().__init__()
        fields = ("stream", "frame", "class", "date", "time")
        self._names = NameTemplate(path, allowed=fields, required=("frame",))
        if Path(path).suffix.lower() not in (".jpg", ".jpeg", ".png"):
            raise InputError(
                f"The pictures {self._names.text!r} would be neither JPEG nor PNG.",
                hint="End the name in .jpg or .png.",
            )
        check_not_negative(interval_s=interval_s, margin=margin)
        if not 0 <= min_score <= 1:
            raise InputError(f"min_score is {min_score}, but a score is 0 to 1.")
        self._names.check_files()
        self._kept = KeptByStream(
            self._names.root, self._names.text, max_files=max_files, max_bytes=max_bytes
        )
        self.min_score, self._interval_s, self._margin = min_score, interval_s, margin
        self._last_s: dict[str, float] = {}  # by stream
        self.written = 0

    def write(self, result: FrameResult) -> None:
        """Save the box of this result, if it is due."""
        found, last_s = next(iter(result.finding.objects), None), self._last_s.get(result.stream)
        early = last_s is not None and 0 <= result.time_s - last_s < self._interval_s
        if found is None or early or (found.score is not None and found.score < self.min_score):
            return
        fields: dict[str, str | int] = {
            "class": found.class_name,
            **moment_fields(result.frame.captured_at),
        }
        path = self._names.path(stream=result.stream, frame=result.index, **fields)
        self._last_s[result.stream] = result.time_s
        with self._attempt(result.stream):
            self._save(result, found.box, path)
            self.written += 1
            self._worked(result.stream)

    def event(self, event: StreamEvent) -> None:
        """A change of state is no picture."""

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (each picture is whole)
        """Each picture is whole; there is nothing to finish."""
        self._tell_losses()

    def _save(self, result: FrameResult, box: Box, path: Path) -> None:
        from PIL import Image

        kept = self._kept.of(result.stream)
        path = kept.claim(path)
        picture = Image.fromarray(np.ascontiguousarray(self._cut(result.frame.pixels, box)))
        try:
            with writing(path):
                picture.save(partial(path), quality=_JPEG_QUALITY)
                partial(path).replace(path)
        except BaseException:
            kept.abandon([path])
            raise
        kept.finished([path])

    def _cut(self, pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
        """The box with its margin, [h, w, 3]; at least a pixel."""
        x0, y0, x1, y1 = box
        height, width = pixels.shape[:2]
        more_x, more_y = self._margin * (x1 - x0), self._margin * (y1 - y0)
        left, upper = max(0, round(x0 - more_x)), max(0, round(y0 - more_y))
        left, upper = min(left, width - 1), min(upper, height - 1)
        right = max(left + 1, min(width, round(x1 + more_x)))
        lower = max(upper + 1, min(height, round(y1 + more_y)))
        return pixels[upper:lower, left:right]
