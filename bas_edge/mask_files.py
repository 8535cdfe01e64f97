"""Annotated foreground masks: files on disk, shown as the network sees the frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bas_edge.errors import InputError
from bas_edge.framing import Placement
from bas_edge.images import image_bytes, turned_upright

__all__ = ["IGNORED", "MaskFiles", "network_mask"]

IGNORED = 255  # in a mask: no pixel of the object, and none of the background either

_BINARY = ({0}, {0, 1}, {0, 255}, {1}, {255})
_MAJORITY = 128  # of grey levels that say how many annotators agree


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """Where the mask of one image is.

    Attributes:
        instances: A pixel is foreground where any of these files has it.
        ignore: Pixels that are not measured, unless they are foreground; None for none.
        votes: The files hold grey levels, the share of annotators who saw the object there;
            half of 255 and more is foreground. Otherwise they hold 0 and one other value.
    """

    instances: tuple[Path, ...]
    ignore: Path | None = None
    votes: bool = False


def network_mask(files: MaskFiles, placement: Placement, orientation: int = 1) -> NDArray[np.uint8]:
    """The mask of one image, on the network's input.

    Each file is brought to the input's size by the nearest pixel, as OpenCV's INTER_NEAREST
    counts it and wsolevaluation and BAS-Extension do it. A file may have another resolution than
    its image. What the resize policy pads the frame with is ignored, what it crops is left out.

    Args:
        files: The files of one image.
        placement: How its frame is shown to the network.
        orientation: The EXIF orientation of the image whose stored pixels the files are of.

    Returns:
        [h, w] uint8: 0 background, 1 foreground, 255 not measured.

    Raises:
        InputError: A file is missing or no image, has values that mean nothing here, or there is
            no foreground in any of them.
    """
    foreground = np.zeros(placement.input_size, np.bool_)
    found = False
    for path in files.instances:
        pixels = _foreground(path, votes=files.votes)
        found = found or bool(pixels.any())
        foreground |= _shown(_upright(pixels, orientation), placement, outside=False)
    if not found:
        raise InputError(
            f"{files.instances[0]} has no foreground.",
            hint="Leave the image out, or mend its mask.",
        )
    blank = np.zeros((1, 1), np.bool_) if files.ignore is None else _foreground(files.ignore)
    ignored = _shown(_upright(blank, orientation), placement, outside=True) & ~foreground
    return foreground.astype(np.uint8) + np.uint8(IGNORED) * ignored


def _upright(pixels: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    return turned_upright(pixels.astype(np.uint8), orientation) > 0


def _foreground(path: Path, *, votes: bool = False) -> NDArray[np.bool_]:
    """[H, W] of one file."""
    grey = _grey_levels(path)
    if votes:
        return grey >= _MAJORITY
    values = {int(value) for value in np.unique(grey)}
    if values not in _BINARY:
        unknown = sorted(values - {0, 1, 255})[:3] or [1, 255]
        raise InputError(
            f"The mask {path} has pixels of value {', '.join(map(str, unknown))}; a mask holds 0 "
            "and either 1 or 255.",
            hint="Save it as black and white, without scaling or JPEG in between.",
        )
    return grey > 0


def _grey_levels(path: Path) -> NDArray[np.int64]:
    """[H, W] integers; palettes are looked up, transparency is dropped."""
    image_bytes(path)  # one sentence for a file that is not there
    try:
        with Image.open(path) as image:
            image.load()
            deep = image.mode.startswith(("I", "F"))
            return np.asarray(image if deep else image.convert("L")).astype(np.int64)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"The mask {path} cannot be read: {error}.", hint="Fetch the file again."
        ) from error


def _shown(pixels: NDArray[np.bool_], placement: Placement, *, outside: bool) -> NDArray[np.bool_]:
    """[H, W] of a file → [h, w] of the input; `outside` is what padding counts as."""
    (height, width), (frame_height, frame_width) = pixels.shape, placement.frame_size
    x0, y0, x1, y1 = placement.shown
    left, top, right, bottom = placement.target
    along_x, along_y = width / frame_width, height / frame_height
    columns = _nearest(x0 * along_x, (x1 - x0) * along_x, right - left, width)
    rows = _nearest(y0 * along_y, (y1 - y0) * along_y, bottom - top, height)
    whole = np.full(placement.input_size, outside, np.bool_)
    whole[top:bottom, left:right] = pixels.take(rows, axis=0).take(columns, axis=1)
    return whole


def _nearest(start: float, length: float, count: int, limit: int) -> NDArray[np.intp]:
    """Source pixel of each of `count` target pixels, in the arithmetic of cv::resize."""
    step = 1.0 / (count / length)
    at = np.floor(start + np.arange(count) * step).astype(np.intp)
    clipped: NDArray[np.intp] = np.minimum(at, limit - 1)
    return clipped
