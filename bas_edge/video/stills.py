"""Run an engine on image files one by one; a file that cannot be read does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bas_edge.errors import BasEdgeError, InputError
from bas_edge.images import read_image
from bas_edge.video.sinks.file_names import partial

if TYPE_CHECKING:
    from bas_edge.finding import Finding
    from bas_edge.video.frame_engine import FrameEngine

__all__ = ["StillResult", "localize_images", "write_image"]


@dataclass(frozen=True, slots=True, eq=False)
class StillResult:
    """What was found in one image file, or why it was skipped.

    Attributes:
        source: The file.
        pixels: [H, W, 3] uint8 RGB, upright; None if skipped.
        finding: None if skipped.
        error: Why the file was skipped; None if it was not.
    """

    source: Path
    pixels: NDArray[np.uint8] | None = None
    finding: Finding | None = None
    error: InputError | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the file, then `finding.to_dict()` or the error."""
        line: dict[str, Any] = {"source": str(self.source)}
        if self.finding is not None:
            line.update(self.finding.to_dict())
        if self.error is not None:
            line["error"] = str(self.error)
        return line


def localize_images(engine: FrameEngine, files: Iterable[Path]) -> Iterator[StillResult]:
    """One result per file, in order, as they are ready.

    Raises:
        BackendError: Inference failed.
    """
    return (_localize(engine, file) for file in files)


def write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write [H, W, 3] uint8 RGB to an image file, whole or not at all.

    Raises:
        BasEdgeError: It cannot be written.
    """
    unfinished = partial(path)
    try:
        Image.fromarray(pixels).save(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise BasEdgeError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Check the folder, its permissions and the space that is left.",
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _localize(engine: FrameEngine, file: Path) -> StillResult:
    try:
        pixels = read_image(file)
    except InputError as error:
        return StillResult(file, error=error)
    return StillResult(file, pixels, engine.run_batch([pixels], color="rgb")[0])
