"""Frames that an export is fitted and checked on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.annotations import BACKGROUND_FOLDER, published_images, read_annotations
from bas_edge.errors import InputError
from bas_edge.images import image_files, read_image
from bas_edge.ops import resize_frame

__all__ = ["Samples", "real_samples", "synthetic_samples"]


@dataclass(frozen=True, slots=True)
class Samples:
    """Frames at network size, uint8 RGB [M, H, W, 3], and where they came from, in words."""

    frames: NDArray[np.uint8]
    source: str
    real: bool


def real_samples(source: str | Path | Sequence[str | Path], *, side: int, count: int) -> Samples:
    """Up to `count` images, evenly spread over a folder, glob, labels CSV or list of files.

    Unreadable files are left out, and counted in `source`.

    Raises:
        InputError: Nothing is there, or no image of it can be read.
    """
    paths, name = _listed(source)
    chosen = [
        paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, count).round().astype(int))
    ]
    frames, unreadable = [], 0
    for path in chosen:
        try:
            frames.append(resize_frame(read_image(path), (side, side)))
        except InputError:  # noqa: PERF203 - decoding dwarfs it
            unreadable += 1
    if not frames:
        raise InputError(f"None of the {len(chosen)} images in {name} can be read.")
    words = f"{len(frames)} images of {name}"
    if unreadable:
        words += f" ({unreadable} unreadable)"
    return Samples(np.stack(frames), words, real=True)


def synthetic_samples(*, side: int, count: int) -> Samples:
    """Textures of all scales: enough to compare two implementations, not to fit anything."""
    random = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        frame = np.zeros((side, side, 3), np.float64)
        for cells in (2, 5, 13, side):
            noise = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
            frame += resize_frame(noise, (side, side))
        frames.append((frame / 4).astype(np.uint8))
    return Samples(np.stack(frames), f"{count} synthetic images", real=False)


def _listed(source: str | Path | Sequence[str | Path]) -> tuple[list[Path], str]:
    if not isinstance(source, (str, Path)):
        if not source:
            raise InputError("The list of images is empty.")
        return [Path(path) for path in source], f"a list of {len(source)}"
    path = Path(source)
    if path.is_file() and path.suffix.lower() == ".csv":
        return [item.path for item in read_annotations(path).items], str(path)
    if (published := published_images(path)) is not None:
        return published, str(path)
    files = image_files(source)
    if path.is_dir():  # images without any object are no sample of what the maps look like
        files = [f for f in files if f.relative_to(path).parts[0] != BACKGROUND_FOLDER]
        if not files:
            raise InputError(
                f"{path} holds no image outside its folder {BACKGROUND_FOLDER}/, where images "
                "without an object lie.",
                hint="Add images with objects, or name another folder.",
            )
    return files, str(source)
