"""One result as a JPEG: scaled, with its box and, where it is asked for, its map."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bas_edge.framing import place
from bas_edge.overlay import heat_on_frame, heat_over
from bas_edge.video.frames import FrameResult

if TYPE_CHECKING:
    from bas_edge.engine.manifest import InputPolicy
    from bas_edge.results import Localization

__all__ = ["OVERLAY_STEPS", "WIDTHS", "Look", "nearest_look", "render"]

# Few widths and few shades, so that those who look share what is encoded.
WIDTHS = (160, 240, 320, 480, 640, 800, 960, 1280, 1600, 1920)
OVERLAY_STEPS = 20
_QUALITY = 82


class Look(NamedTuple):
    """How a picture is wanted.

    Attributes:
        width: In pixels, one of `WIDTHS`; a smaller frame is not enlarged.
        overlay: Opacity of the map over the picture, in parts of `OVERLAY_STEPS`.
    """

    width: int
    overlay: int


def nearest_look(width: float, overlay: float) -> Look:
    """The look for a view `width` pixels wide with a map of opacity `overlay`, 0 to 1."""
    wide = next((each for each in WIDTHS if each >= width), WIDTHS[-1])
    return Look(wide, round(min(max(overlay, 0.0), 1.0) * OVERLAY_STEPS))


def render(result: FrameResult, look: Look, policy: InputPolicy | None) -> bytes:
    """The JPEG. Drawn after scaling, so that lines and text are sharp at any size.

    Args:
        result: What is shown.
        look: How.
        policy: How the engine is shown its frames, which says where the map lies; None shows no
            map.
    """
    found, pixels = _scaled(result.localization, result.frame.pixels, look.width)
    if look.overlay and policy is not None and found.map.size:
        heat = heat_on_frame(found.map, place(result.localization.frame_size, policy))
        pixels = heat_over(pixels, heat, look.overlay / OVERLAY_STEPS)
    buffer = BytesIO()
    drawn = found.draw(pixels, color="rgb")
    Image.fromarray(drawn).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _scaled(
    found: Localization, pixels: NDArray[np.uint8], width: int
) -> tuple[Localization, NDArray[np.uint8]]:
    """Frame and boxes at most `width` pixels wide."""
    H, W = found.frame_size
    if width >= W:
        return found, pixels
    size = (width, max(1, round(H * width / W)))
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    across, down = size[0] / W, size[1] / H

    def fitted(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        return box[0] * across, box[1] * down, box[2] * across, box[3] * down

    scaled = replace(
        found,
        box=fitted(found.box),
        boxes=tuple(fitted(box) for box in found.boxes),
        frame_size=(size[1], size[0]),
    )
    return scaled, np.asarray(small)
