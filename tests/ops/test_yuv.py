from __future__ import annotations

import cv2
import numpy as np
import pytest

from bas_edge.errors import InputError
from bas_edge.ops.yuv import YuvMatrix, nv12_to_rgb, yuv_coefficients


def test_close_to_opencv() -> None:
    """OpenCV knows BT.601 alone and rounds its factors to three digits: two levels apart."""
    rng = np.random.default_rng(0)
    luma = rng.integers(16, 236, (48, 64), np.uint8)
    chroma = rng.integers(16, 241, (24, 32, 2), np.uint8)
    planes = np.concatenate((luma, chroma.reshape(24, 64)))
    expected = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV12)
    got = nv12_to_rgb(luma, chroma, matrix="bt601")
    assert np.abs(got.astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("matrix", "black", "white"),
    [("bt601", 16, 235), ("bt709", 16, 235), ("bt601-full", 0, 255), ("bt709-full", 0, 255)],
)
def test_black_grey_and_white(matrix: YuvMatrix, black: int, white: int) -> None:
    luma = np.array([[black, (black + white + 1) // 2, white]], np.uint8)
    rgb = nv12_to_rgb(luma, np.full((1, 2, 2), 128, np.uint8), matrix=matrix)
    assert (rgb[0] == np.array([0, 128, 255])[:, None]).all()


# The code values of SMPTE 75 % colour bars, limited range.
@pytest.mark.parametrize(
    ("matrix", "yuv", "rgb"),
    [
        ("bt601", (65, 100, 212), (191, 0, 0)),
        ("bt601", (112, 72, 58), (0, 191, 0)),
        ("bt601", (35, 212, 114), (0, 0, 191)),
        ("bt709", (51, 109, 212), (191, 0, 0)),
        ("bt709", (133, 63, 52), (0, 191, 0)),
        ("bt709", (28, 212, 120), (0, 0, 191)),
    ],
)
def test_colour_bars(
    matrix: YuvMatrix, yuv: tuple[int, int, int], rgb: tuple[int, int, int]
) -> None:
    luma = np.full((1, 1), yuv[0], np.uint8)
    got = nv12_to_rgb(luma, np.array([[yuv[1:]]], np.uint8), matrix=matrix)
    assert np.abs(got[0, 0].astype(int) - rgb).max() <= 2


def test_each_chroma_sample_serves_four_pixels_and_odd_sides_are_kept() -> None:
    luma = np.full((3, 5), 128, np.uint8)
    chroma = np.full((2, 3, 2), 128, np.uint8)
    chroma[1, 2] = 200
    coloured = (nv12_to_rgb(luma, chroma).max(axis=2) != 130).nonzero()
    assert list(zip(*coloured, strict=True)) == [(2, 4)]


def test_planes_that_do_not_fit_are_refused() -> None:
    luma = np.zeros((4, 4), np.uint8)
    with pytest.raises(InputError, match=r"\(2, 3, 2\), but luma \(4, 4\) needs \(2, 2, 2\)"):
        nv12_to_rgb(luma, np.zeros((2, 3, 2), np.uint8))
    with pytest.raises(InputError, match="uint8 luma"):
        nv12_to_rgb(luma.astype(np.float32), np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(InputError, match="Unknown colour matrix"):
        yuv_coefficients("bt2020")
