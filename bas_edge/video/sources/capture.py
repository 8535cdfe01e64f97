"""One connection to a source: pictures, one after another, until it ends or breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ArrayPicture", "Capture", "Damaged", "Picture"]


class Picture(Protocol):
    """One whole picture. It becomes pixels only if somebody wants it.

    Attributes:
        time_s: Seconds since the connection's first picture, by the source's own clock; None
            where it has no clock.
        captured_at: When it arrived, if possible before it was decoded: Unix time in seconds.
    """

    @property
    def time_s(self) -> float | None: ...
    @property
    def captured_at(self) -> float: ...

    def pixels(self) -> NDArray[np.uint8]:
        """[H, W, 3] uint8 RGB, upright. From any thread, once."""
        ...


class Damaged:
    """In place of a picture that arrived but could not be decoded whole."""


class Capture(Protocol):
    """One open connection. Iterated and closed by one thread.

    It may also have `frame_count` (int or None: what a file declares), and `ends` (bool: a live
    address that leads to something with an end, such as a file behind http://).
    """

    @property
    def details(self) -> str:
        """What arrives, for a status line: "h264 1280×720, decoded in software"."""
        ...

    @property
    def fps(self) -> float | None:
        """What the source says of its rate; None if it says nothing."""
        ...

    @property
    def damage(self) -> str | None:
        """One sentence on what could not be decoded so far; None if all was."""
        ...

    def __iter__(self) -> Iterator[Picture | Damaged | None]:
        """Pictures as they arrive; ends where the source ends. None is a sign of life.

        Raises:
            StreamError: The connection broke, or was silent for too long.
        """
        ...

    def close(self) -> None:
        """Let go of it. Safe to call twice."""
        ...


class ArrayPicture:
    """A picture that already is an array."""

    __slots__ = ("_pixels", "captured_at", "time_s")

    def __init__(self, pixels: NDArray[np.uint8], time_s: float | None, captured_at: float) -> None:
        self._pixels = pixels
        self.time_s = time_s
        self.captured_at = captured_at

    def pixels(self) -> NDArray[np.uint8]:
        """The array itself."""
        return self._pixels
