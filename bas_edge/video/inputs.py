"""What a user names on the command line: images, folders, globs and videos."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bas_edge.errors import InputError
from bas_edge.images import IMAGE_SUFFIXES, image_files
from bas_edge.video.sinks.file_names import partial
from bas_edge.video.sources.addresses import kind_of
from bas_edge.video.sources.video_source import VIDEO_SUFFIXES

__all__ = ["RESULTS", "Inputs", "find_inputs"]

RESULTS = "results.jsonl"  # of `bas-edge run`, beside the copies that it wrote


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

    A folder and a pattern give the files whose ending is known, without the annotated copies of
    earlier runs. A file that is named outright is an image if its ending says so, and a video
    otherwise.

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
        images = image_files(name)
    except InputError:
        if not path.is_dir() and not glob.has_magic(name):
            raise
        images = []  # which is said below, where there is no video either
    files = list(_without_copies([*images, *videos]))
    if not files:
        raise InputError(
            f"No images or videos in {name}.",
            hint=f"Looked for files ending in {' '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))}",
        )
    return files


class _Line(msgspec.Struct):
    """What a line of results says of the copy that was made."""

    annotated: str = ""


def _without_copies(files: Iterable[Path]) -> Iterator[Path]:
    copies: dict[Path, set[str]] = {}  # by folder
    for file in files:
        if file.parent not in copies:
            copies[file.parent] = set(_copies_in(file.parent))
        if file.name not in copies[file.parent]:
            yield file


def _copies_in(folder: Path) -> Iterator[str]:
    """Names of the annotated copies in a folder, as the results beside them tell."""
    with contextlib.suppress(OSError), (folder / RESULTS).open("rb") as lines:
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                copy = Path(msgspec.json.decode(line, type=_Line).annotated)
                yield from (copy.name, partial(copy).name) if copy.name else ()
