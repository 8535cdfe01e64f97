"""One result as a JPEG: scaled, with what was found and, where it is asked for, its map."""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from bas_edge.video.frames import FrameResult

__all__ = ["OVERLAY_STEPS", "WIDTHS", "Look", "nearest_look", "render"]

# Few widths and few shades, so that those who look share what is encoded.
WIDTHS = (160, 240, 320, 480, 640, 800, 960, 1280, 1600, 1920)
OVERLAY_STEPS = 20
_QUALITY = 82


class Look(NamedTuple):
    """How a picture is wanted.

    Attributes:
        width: In pixels, one of `WIDTHS`; a smaller frame is not enlarged.
        overlay: Opacity of the map or the classes over the picture, in parts of `OVERLAY_STEPS`;
            None is what suits the engine's task.
    """

    width: int
    overlay: int | None


def nearest_look(width: float, overlay: float | None) -> Look:
    """The look for a view `width` pixels wide with an overlay of that opacity, 0 to 1."""
    wide = next((each for each in WIDTHS if each >= width), WIDTHS[-1])
    if overlay is None:
        return Look(wide, None)
    return Look(wide, round(min(max(overlay, 0.0), 1.0) * OVERLAY_STEPS))


def render(result: FrameResult, look: Look) -> bytes:
    """The JPEG. Drawn after scaling, so that lines and text are sharp at any size."""
    finding, pixels = result.finding, result.frame.pixels
    H, W = finding.frame_size
    if look.width < W:
        size = (look.width, max(1, round(H * look.width / W)))
        small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        finding, pixels = finding.resized((size[1], size[0])), np.asarray(small)
    opacity = None if look.overlay is None else look.overlay / OVERLAY_STEPS
    buffer = BytesIO()
    drawn = finding.draw(pixels, color="rgb", opacity=opacity)
    Image.fromarray(drawn).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
