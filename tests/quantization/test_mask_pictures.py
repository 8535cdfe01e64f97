"""Pictures of masks in the report."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bas_edge.quantization.report import MaskComparison
from bas_edge.quantization.report_pictures import draw_masks
from bas_edge.segmentation.masks import palette


def png(mask: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    return stream.getvalue()


def pixels_of(svg: str) -> NDArray[np.uint8]:
    found = re.search(r"base64,([A-Za-z0-9+/=]+)", svg)
    assert found is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))


@pytest.mark.parametrize("value", [1, 2, 7, 20])
def test_each_class_has_its_colour(value: int, tmp_path: Path) -> None:
    """Those of the first seven are 128, twice which is no byte."""
    Image.new("RGB", (64, 48)).save(tmp_path / "black.png")
    before = np.zeros((48, 64), np.uint8)
    after = before.copy()
    after[:, 32:] = value
    one = MaskComparison(
        path=str(tmp_path / "black.png"),
        iou=0.5,
        mask_reference=png(before),
        mask=png(after),
        classes_reference=(),
        classes=("a",),
    )
    differ, reference, engine = (pixels_of(svg) for _, svg in draw_masks(one, engine="int8").panels)
    np.testing.assert_allclose(differ[:, 40:], 255, atol=8)  # a JPEG
    assert reference.max() < 8
    assert engine[:, :24].max() < 8
    expected = np.broadcast_to(0.6 * palette()[value], (48, 24, 3))
    np.testing.assert_allclose(engine[:, 40:], expected, atol=8)
