"""NV12, the form in which video decoders give their frames, to RGB: the definition, in NumPy."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError

__all__ = ["YuvCoefficients", "YuvMatrix", "nv12_to_rgb", "yuv_coefficients"]

YuvMatrix: TypeAlias = Literal["bt601", "bt709", "bt601-full", "bt709-full"]
"""The matrix of ITU-R BT.601 (SD video, JPEG) or BT.709 (HD video), for luma from 16 to 235 (as
video has it) or, "-full", from 0 to 255 (as JPEG and some cameras have it)."""

_FRACTION_BITS = 16


class YuvCoefficients(NamedTuple):
    """Fixed point of 16 bits: `channel = (luma × (Y - offset) + … + half) >> 16`, clipped."""

    offset: int
    luma: int
    v_to_red: int
    u_to_green: int
    v_to_green: int
    u_to_blue: int


def _coefficients(red: float, blue: float, *, full: bool) -> YuvCoefficients:
    """From the shares of red and blue in luma."""
    green = 1 - red - blue
    luma, chroma = (1.0, 1.0) if full else (255 / 219, 255 / 224)
    factors = (
        luma,
        chroma * 2 * (1 - red),
        -chroma * 2 * blue * (1 - blue) / green,
        -chroma * 2 * red * (1 - red) / green,
        chroma * 2 * (1 - blue),
    )
    return YuvCoefficients(0 if full else 16, *(round(f * (1 << _FRACTION_BITS)) for f in factors))


_MATRICES = {
    "bt601": _coefficients(0.299, 0.114, full=False),
    "bt709": _coefficients(0.2126, 0.0722, full=False),
    "bt601-full": _coefficients(0.299, 0.114, full=True),
    "bt709-full": _coefficients(0.2126, 0.0722, full=True),
}


def yuv_coefficients(matrix: YuvMatrix) -> YuvCoefficients:
    """The fixed-point coefficients of a colour matrix.

    Raises:
        InputError: No such matrix.
    """
    if matrix not in _MATRICES:
        raise InputError(f"Unknown colour matrix {matrix!r}; known: {', '.join(_MATRICES)}.")
    return _MATRICES[matrix]


def nv12_to_rgb(
    luma: NDArray[np.uint8], chroma: NDArray[np.uint8], *, matrix: YuvMatrix = "bt709"
) -> NDArray[np.uint8]:
    """Luma [H, W] and chroma [ceil(H / 2), ceil(W / 2), 2] (U, V) → RGB [H, W, 3], all uint8.

    Each chroma sample serves its 2 × 2 pixels (no interpolation). Integer arithmetic, so the
    GPU gives the same bytes.

    Raises:
        InputError: The planes do not fit each other, or are not uint8.
    """
    if luma.dtype != np.uint8 or chroma.dtype != np.uint8 or luma.ndim != 2:
        raise InputError(
            f"NV12 is uint8 luma [H, W] and chroma [h, w, 2], not {luma.dtype} "
            f"{luma.shape} and {chroma.dtype} {chroma.shape}."
        )
    height, width = luma.shape
    expected = ((height + 1) // 2, (width + 1) // 2, 2)
    if chroma.shape != expected:
        raise InputError(
            f"The chroma plane has the shape {chroma.shape}, but luma {luma.shape} needs "
            f"{expected}."
        )
    c = yuv_coefficients(matrix)
    spread = chroma.repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width].astype(np.int32) - 128
    u, v = spread[..., 0], spread[..., 1]
    base = (luma.astype(np.int32) - c.offset) * c.luma + (1 << (_FRACTION_BITS - 1))
    rgb = np.stack(
        (
            base + c.v_to_red * v,
            base + c.u_to_green * u + c.v_to_green * v,
            base + c.u_to_blue * u,
        ),
        axis=2,
    )
    clipped: NDArray[np.uint8] = np.clip(rgb >> _FRACTION_BITS, 0, 255).astype(np.uint8)
    return clipped
