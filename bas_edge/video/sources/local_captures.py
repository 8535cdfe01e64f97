"""Sources that are here already: a video file, a folder of images, arrays from a program."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.frames import checked_frame
from bas_edge.images import image_files, read_image
from bas_edge.results import ColorOrder
from bas_edge.video.sources.capture import ArrayPicture, Damaged, Picture
from bas_edge.video.sources.video_source import VideoSource

__all__ = ["ArrayCapture", "FileCapture", "FolderCapture"]


class FileCapture:
    """A video file; see `capture.Capture`.

    Args:
        file: Its path, or the source where it was opened already.

    Raises:
        InputError: As `VideoSource`.
    """

    def __init__(self, file: str | Path | VideoSource) -> None:
        self._source = file if isinstance(file, VideoSource) else VideoSource(file)
        height, width = self._source.size
        self.details = f"video file, {width}×{height}"
        self.fps: float | None = self._source.fps
        self.frame_count = self._source.frame_count

    @property
    def damage(self) -> str | None:
        return self._source.damage

    def __iter__(self) -> Iterator[Picture | Damaged | None]:
        return self._source.pictures()

    def close(self) -> None:
        """The file is open only while it is iterated."""


class FolderCapture:
    """The images of a folder in the order of their names, as if taken at `fps`.

    An image that cannot be read is a damaged frame.

    Raises:
        InputError: The folder holds no image.
    """

    def __init__(self, folder: str | Path, fps: float) -> None:
        self._files = image_files(folder)
        self._unread: list[str] = []
        self.details = f"{len(self._files)} images"
        self.fps: float | None = fps
        self.frame_count = len(self._files)

    @property
    def damage(self) -> str | None:
        if not self._unread:
            return None
        more = f" and {len(self._unread) - 1} more" if self._unread[1:] else ""
        return f"{self._unread[0]}{more} could not be read."

    def __iter__(self) -> Iterator[Picture | Damaged | None]:
        assert self.fps is not None
        for at, file in enumerate(self._files):
            try:
                pixels = read_image(file)
            except InputError:
                self._unread.append(str(file))
                yield Damaged()
                continue
            yield ArrayPicture(pixels, at / self.fps, time.time())

    def close(self) -> None:
        """Nothing is held open."""


class ArrayCapture:
    """Frames that a program makes: any iterable of uint8 [H, W, 3].

    A frame's time is the moment it is given.
    """

    def __init__(self, frames: Iterable[NDArray[np.uint8]], color: ColorOrder = "rgb") -> None:
        self._frames = frames
        self._swap = color == "bgr"
        self.details = "frames of a program"
        self.fps: float | None = None
        self.damage: str | None = None

    def __iter__(self) -> Iterator[Picture | Damaged | None]:
        started: float | None = None
        for at, frame in enumerate(self._frames):
            now, captured_at = time.monotonic(), time.time()  # the latter may be set at any moment
            started = now if started is None else started
            pixels, swap = checked_frame(frame, self._swap, at, 0)
            if swap:
                pixels = np.ascontiguousarray(pixels[:, :, ::-1])
            yield ArrayPicture(pixels, now - started, captured_at)

    def close(self) -> None:
        """Close the iterable, where it can be closed."""
        close = getattr(self._frames, "close", None)
        if close is not None:
            close()
