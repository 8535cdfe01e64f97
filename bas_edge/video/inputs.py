"""What a user names on the command line: images, folders, globs and videos."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bas_edge.errors import InputError
from bas_edge.images import IMAGE_SUFFIXES, image_files
from bas_edge.video.sources import VIDEO_SUFFIXES

__all__ = ["Inputs", "find_inputs"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files to localize, each once, in the order they were named."""

    images: tuple[Path, ...]
    videos: tuple[Path, ...]


def find_inputs(names: Iterable[str | Path]) -> Inputs:
    """Sort files, folders and glob patterns into images and videos.

    A folder and a pattern give the files whose ending is known. A file that is named
    outright is an image if its ending says so, and a video otherwise.

    Raises:
        InputError: A name leads to nothing.
    """
    files = dict.fromkeys(file for name in names for file in _files(str(name)))
    images = tuple(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)
    return Inputs(images, tuple(file for file in files if file not in set(images)))


def _files(name: str) -> list[Path]:
    path = Path(name)
    if path.is_file():
        return [path]
    pattern = f"{glob.escape(name)}/**/*" if path.is_dir() else name
    videos = [
        file
        for file in sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207  (Path has no absolute globs)
        if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()
    ]
    try:
        return image_files(name) + videos
    except InputError:
        if videos:
            return videos
        raise
