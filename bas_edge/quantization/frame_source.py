"""Where frames come from: a folder, a glob, a CSV file or a video; and which of them to take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bas_edge.annotations import published_images
from bas_edge.csv_rows import read_csv_rows
from bas_edge.errors import InputError
from bas_edge.images import IMAGE_SUFFIXES, image_files
from bas_edge.segmentation.read_set import is_image_set, read_image_set

__all__ = ["FrameSource", "find_frames", "spread"]


@dataclass(frozen=True, slots=True)
class FrameSource:
    """Images, or one video.

    Attributes:
        text: As the user named it.
        images: Sorted, each once; empty for a video. Not all of them need to exist.
        video: The file, or None.
    """

    text: str
    images: tuple[Path, ...] = ()
    video: Path | None = None


def find_frames(source: str | os.PathLike[str]) -> FrameSource:
    """Find the images that `source` names, or the video that it is.

    A folder gives every image in it at any depth (a published set, or one with masks, those to
    train on), a pattern those that match. A CSV needs one
    column, `path`, relative to the file; those of `read_annotations` have it. A file with another
    ending than that of an image or `.csv` is a video.

    Raises:
        InputError: Nothing is there, no images are in it, or the CSV cannot be read.
    """
    text, path = os.fspath(source), Path(source)
    if path.is_file() and path.suffix.lower() == ".csv":
        return FrameSource(text, _csv_paths(path))
    if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
        return FrameSource(text, video=path)
    if is_image_set(path, complete=True):  # whose masks are image files too
        return FrameSource(text, tuple(sorted(one.path for one in read_image_set(path).images)))
    published = published_images(path)
    return FrameSource(text, tuple(image_files(source) if published is None else sorted(published)))


def spread(count: int, limit: int | None) -> list[int]:
    """At most `limit` indices below `count`, ascending, at even distances; all for None.

    `spread(10, 3)` is [1, 5, 8]: the middle of each third.
    """
    if limit is None or limit >= count:
        return list(range(count))
    return [(2 * n + 1) * count // (2 * limit) for n in range(limit)]


def _csv_paths(path: Path) -> tuple[Path, ...]:
    names: set[str] = set()
    for line, cells in read_csv_rows(path, _check_columns):
        if not cells["path"]:
            raise InputError(f"{path}, line {line}: 'path' must not be empty.")
        names.add(cells["path"])
    return tuple(path.parent / name for name in sorted(names))


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if columns.count("path") != 1:
        raise InputError(
            f"{path} has {columns.count('path')} columns 'path', but must have one.",
            hint="The first line names the columns; a list of images has the one word path.",
        )
