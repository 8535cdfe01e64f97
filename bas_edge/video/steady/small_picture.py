"""A frame as a small grey picture: enough to see camera motion and scene cuts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["SMALL_SIZE", "SmallPicture", "small_picture"]

SMALL_SIZE = (72, 128)  # pixels; 10 pixels of a 1280×720 frame each way, a quarter of a map cell

_FLAT = 0.5  # standard deviation in grey levels below which a picture shows nothing


@dataclass(frozen=True, slots=True, eq=False)
class SmallPicture:
    """One frame, small.

    Attributes:
        grey: [72, 128] float32, 0 to 255, whatever the frame's size and aspect ratio.
        spectrum: [72, 65] complex, the Fourier transform of `grey` less its mean, under a Hann
            window.
        flat: Whether it shows nothing: all pixels alike, as in a black frame.
    """

    grey: NDArray[np.float32]
    spectrum: NDArray[np.complexfloating]
    flat: bool


def small_picture(pixels: NDArray[np.uint8]) -> SmallPicture:
    """Frame [H, W, 3] uint8 → its small picture.

    Each pixel is the mean of four samples of the green channel, which is most of the brightness.
    A mean over all pixels would cost ten times as much and find the same shifts.
    """
    rows, columns = _samples(pixels.shape[0], pixels.shape[1])
    green = pixels[rows, columns, 1].astype(np.float32)  # [144, 256]
    grey = green[::2, ::2] + green[1::2, ::2] + green[::2, 1::2] + green[1::2, 1::2]
    grey *= np.float32(0.25)
    centred = grey - grey.mean()
    flat = float(centred.std()) < _FLAT
    return SmallPicture(grey, np.fft.rfft2(centred * _window()), flat)


@lru_cache(maxsize=64)
def _samples(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows [144, 1] and columns [256] of the samples: two to each small pixel, each way."""
    h, w = 2 * SMALL_SIZE[0], 2 * SMALL_SIZE[1]
    rows = ((np.arange(h) + 0.5) * (height / h)).astype(np.intp)
    columns = ((np.arange(w) + 0.5) * (width / w)).astype(np.intp)
    return rows[:, None], columns


@lru_cache(maxsize=1)
def _window() -> NDArray[np.float32]:
    """[72, 128]: falls to zero at the edges, which a shifted picture does not share."""
    return np.outer(np.hanning(SMALL_SIZE[0]), np.hanning(SMALL_SIZE[1])).astype(np.float32)
