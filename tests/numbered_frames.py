"""Moving pictures that carry their own number, so that a test can say which one it got.

The number is in 4×4 squares of 16×16 pixels, upper left, black for 0 and white for 1: twelve bits
of it and four of a check sum. It survives lossy coding; a grey, green or smeared picture, such as
a decoder makes up from a damaged stream, has no number as a rule, or is far from the true picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SQUARE = 16
GRID = 4
MOST = 1 << 12  # numbers there are


def numbered(
    count: int, size: tuple[int, int] = (96, 128), first: int = 0
) -> list[NDArray[np.uint8]]:
    """`count` frames [H, W, 3] with the numbers from `first` on."""
    return [picture(number, size) for number in range(first, first + count)]


def picture(number: int, size: tuple[int, int] = (96, 128)) -> NDArray[np.uint8]:
    """The one true picture of this number and size (H, W): stripes that move, and the squares."""
    H, W = size
    if not 0 <= number < MOST or min(H, W) < SQUARE * GRID:
        raise ValueError(f"no picture of number {number} and size {size}")
    y, x = np.mgrid[:H, :W]
    pixels = np.empty((H, W, 3), np.uint8)
    pixels[..., 0] = 128 + 90 * np.sin((x + 3 * number) / 9)
    pixels[..., 1] = 128 + 90 * np.sin((y - 2 * number) / 11)
    pixels[..., 2] = 128 + 90 * np.sin((x + y + number) / 15)
    code = number << 4 | _check(number)
    bits = [code >> at & 1 for at in reversed(range(GRID * GRID))]
    squares = np.array(bits, np.uint8).reshape(GRID, GRID) * 255
    pixels[: SQUARE * GRID, : SQUARE * GRID] = np.kron(
        squares, np.ones((SQUARE, SQUARE), np.uint8)
    )[..., None]
    return pixels


def frame_number(pixels: NDArray[np.uint8]) -> int | None:
    """The number in an RGB frame [H, W, 3], or None where it cannot be read for certain."""
    side = SQUARE * GRID
    if min(pixels.shape[:2]) < side:
        return None
    inner = pixels[:side, :side].astype(float).mean(axis=2)
    # Edges blur: only the middle half of each square counts.
    blocks = inner.reshape(GRID, SQUARE, GRID, SQUARE)[:, 4:12, :, 4:12]
    means = blocks.mean(axis=(1, 3))
    if ((means > 64) & (means < 192)).any():
        return None
    code = 0
    for bit in (means >= 192).ravel():
        code = code << 1 | int(bit)
    number = code >> 4
    return number if code & 15 == _check(number) else None


def psnr(seen: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """Peak signal to noise in decibels; what these frames lose in coding leaves more than 28."""
    error = float(np.mean((seen.astype(float) - true) ** 2))
    return 100.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def _check(number: int) -> int:
    # Neither all black nor all white is a number.
    return (number * 7 + (number >> 4) * 5 + (number >> 8) * 3 + 9) & 15
