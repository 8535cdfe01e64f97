"""What a user names on the command line: images, folders, globs and videos."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bas_edge.errors import InputError
from bas_edge.images import IMAGE_SUFFIXES, image_files
from bas_edge.video.sources.addresses import kind_of
from bas_edge.video.sources.video_source import VIDEO_SUFFIXES

__all__ = ["Inputs", "find_inputs"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What to localize, each once, in the order it was named.

    Attributes:
        images: Image files.
        videos: Video files.
        live: Addresses of cameras and network streams, and GStreamer pipelines.
    """

    images: tuple[Path, ...]
    videos: tuple[Path, ...]
    live: tuple[str, ...] = ()


def find_inputs(names: Iterable[str | Path]) -> Inputs:
    """Sort files, folders, glob patterns and addresses into images, videos and live sources.

    A folder and a pattern give the files whose ending is known. A file that is named
    outright is an image if its ending says so, and a video otherwise.

    Raises:
        InputError: A name is empty or leads to nothing, or an address has an unknown scheme.
    """
    given = dict.fromkeys(map(str, names))
    live = tuple(name for name in given if _is_live(name))
    files = dict.fromkeys(file for name in given if name not in live for file in _files(name))
    images = tuple(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)
    return Inputs(images, tuple(file for file in files if file not in set(images)), live)


def _is_live(name: str) -> bool:
    special = "://" in name or " ! " in name or name.isdecimal() or name.startswith("/dev/")
    if name and not special:
        return False
    return kind_of(name) not in ("file", "folder")


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
        if not path.is_dir() and not glob.has_magic(name):
            raise
        raise InputError(
            f"No images or videos in {name}.",
            hint=f"Looked for files ending in {' '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))}",
        ) from None
