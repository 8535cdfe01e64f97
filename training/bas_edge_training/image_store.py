"""Decoded, resized images: read once, kept in memory while they fit."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.images import DecodedImage, decode_image
from bas_edge.ops import resize_frame

__all__ = ["ImageStore", "cache_budget"]


class ImageStore:
    """Images by index, stretched to side × side. Threads may share one.

    Attributes:
        skipped: Path -> reason of every image that could not be read, so far.
        converted: Path -> what was done to an image that was not plain upright RGB, so far:
            its mode, and "rotated" where EXIF turned it.
    """

    channels = 3

    def __init__(self, paths: Sequence[Path], side: int, budget_bytes: int) -> None:
        self.paths = tuple(paths)
        self.side = side
        self.skipped: dict[str, str] = {}
        self.converted: dict[str, str] = {}
        self._room = budget_bytes // (side * side * self.channels)
        self._pixels: dict[int, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.paths)

    def pixels(self, index: int) -> NDArray[np.uint8] | None:
        """uint8 RGB [side, side, 3], or None for an image that cannot be read (see `skipped`)."""
        path = self.paths[index]
        with self._lock:
            if index in self._pixels:
                return self._pixels[index]
            if str(path) in self.skipped:
                return None
        try:
            decoded = decode_image(path)
            resized = self._prepared(path, decoded)
        except InputError as error:
            with self._lock:
                self.skipped[str(path)] = str(error)
            return None
        changes = [decoded.original_mode] if decoded.converted else []
        changes += ["rotated"] if decoded.rotated else []
        with self._lock:
            if changes:
                self.converted[str(path)] = " ".join(changes)
            if len(self._pixels) < self._room:
                self._pixels[index] = resized
        return resized

    def _prepared(self, path: Path, decoded: DecodedImage) -> NDArray[np.uint8]:  # noqa: ARG002  (for subclasses)
        """What is kept of an image: uint8 [side, side, channels].

        Raises:
            InputError: It has to be skipped.
        """
        pixels: NDArray[np.uint8] = resize_frame(decoded.pixels, (self.side, self.side))
        return pixels


def cache_budget(mode: str) -> int:
    """Bytes that decoded images may take: "on" has no limit, "auto" a quarter of free memory."""
    if mode == "on":
        return 1 << 62
    if mode == "off":
        return 0
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, OSError, ValueError):  # no such figure on this system
        return 1 << 30
