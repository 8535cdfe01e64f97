"""Calibration and evaluation must not share an image, under whatever name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bas_edge.engine.file_check import sha256
from bas_edge.errors import InputError
from bas_edge.quantization.frame_sieve import CalibrationItem
from bas_edge.quantization.frames import CalibrationFrames

__all__ = ["check_overlap"]


def check_overlap(
    calibration: CalibrationFrames, evaluation_paths: Sequence[Path], *, kind: str = "evaluation"
) -> None:
    """Refuse a bound that would be measured on calibration images.

    Images are the same if they are one file, or two files with the same bytes. Only evaluation
    images with the size of a calibration image are read for that; those that cannot be read are
    left to the evaluation. `kind` names them in the message.

    Raises:
        InputError: They share an image. Nothing lifts this.
    """
    files = {item.path.resolve(): item for item in calibration.items}
    contents: dict[int, dict[str, CalibrationItem]] = {}
    for item in calibration.items:
        contents.setdefault(item.size_bytes, {})[item.sha256] = item
    shared = [
        (path, same)
        for path in evaluation_paths
        if (same := files.get(path.resolve()) or _copied(path, contents)) is not None
    ]
    if not shared:
        return
    path, same = shared[0]
    known_as = "" if path == same.path else f", for calibration {same.path}"
    raise InputError(
        f"{len(shared)} of {len(evaluation_paths)} {kind} images are also calibration images; "
        f"the first: {path}{known_as}.",
        hint="Calibrate on other images, such as the training split: a bound measured on "
        "calibration images is no bound, so --force does not lift this.",
    )


def _copied(path: Path, contents: dict[int, dict[str, CalibrationItem]]) -> CalibrationItem | None:
    try:
        same_size = contents.get(path.stat().st_size)
        return same_size.get(sha256(path)) if same_size else None
    except OSError:
        return None
