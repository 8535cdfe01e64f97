"""`Localization.to_supervision` against the real package."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import supervision

from bas_edge import Localizer
from bas_edge.errors import InputError, MissingExtraError

SIZE = (64, 64)
TWO = np.zeros((8, 8), np.float32)
TWO[1:4, 1:4] = 1
TWO[5:7, 5:8] = 1
SCORES = np.array([0.2, 0.5, 0.3], np.float32)


@pytest.fixture
def localizer(tiny_onnx: Callable[..., Path], tmp_path: Path) -> Iterator[Localizer]:
    with Localizer(tiny_onnx(tmp_path / "tiny.onnx"), threads=1, max_boxes=3) as opened:
        yield opened


def test_every_box_is_a_detection(localizer: Localizer) -> None:
    result = localizer.localization_of(TWO, SCORES, SIZE)
    detections = result.to_supervision()
    assert isinstance(detections, supervision.Detections)
    assert len(detections) == len(result.boxes) == 2
    np.testing.assert_array_equal(detections.xyxy, np.array(result.boxes, np.float32))
    assert detections.confidence.tolist() == [0.5, 0.5]
    assert detections.class_id.tolist() == [1, 1]
    assert detections.data["class_name"].tolist() == ["b", "b"]
    assert detections.mask is None


def test_without_several_boxes_it_is_the_box(localizer: Localizer) -> None:
    result = replace(localizer.localization_of(TWO, SCORES, SIZE), boxes=())
    detections = result.to_supervision(mask=True)
    assert detections.xyxy.tolist() == [list(result.box)]
    assert detections.mask.shape == (1, 64, 64)
    np.testing.assert_array_equal(detections.mask[0], result.mask())


@pytest.mark.parametrize("mask", [False, True])
def test_nothing_found_is_no_detection(localizer: Localizer, mask: bool) -> None:
    detections = localizer.localization_of(TWO, SCORES, SIZE, found=False).to_supervision(mask=mask)
    assert len(detections) == 0
    assert detections.xyxy.shape == (0, 4)
    merged = supervision.Detections.merge([detections, detections])
    assert len(merged) == 0


def test_one_mask_is_not_several(localizer: Localizer) -> None:
    with pytest.raises(InputError, match="There are 2 boxes, but a mask only of the largest"):
        localizer.localization_of(TWO, SCORES, SIZE).to_supervision(mask=True)


def test_without_the_package_the_error_names_the_extra(
    localizer: Localizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError) as caught:
        localizer.localization_of(TWO, SCORES, SIZE).to_supervision()
    assert "bas-edge[tracking]" in str(caught.value.hint)
