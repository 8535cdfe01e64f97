"""Ten crops: which they are, where the centre lies, and what an evaluation makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from bas_edge.engine.build import build_engine
from bas_edge.engine.manifest import InputPolicy, ResizePolicy
from bas_edge.errors import InputError
from bas_edge.evaluation import evaluate
from bas_edge.localizer import Localizer
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.iou import box_iou
from bas_edge.ops import resize_frame
from bas_edge.ten_crop import CENTRE, centre_crop, ten_crops

OBJECTS = ((24, 24, 40, 40), (22, 26, 44, 38), (24, 24, 40, 40), (2, 2, 22, 22))


def test_the_ten_crops_of_a_frame() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    crops = ten_crops(frame, InputPolicy(height=224, width=224))
    large = resize_frame(frame, (256, 256))
    places = [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]
    expected = [large[y : y + 224, x : x + 224] for y, x in places]
    assert len(crops) == 10
    for n, crop in enumerate(expected):
        np.testing.assert_array_equal(crops[2 * n], crop)
        np.testing.assert_array_equal(crops[2 * n + 1], crop[:, ::-1])


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "centre_crop"])
def test_crops_have_the_size_of_the_input(resize: ResizePolicy) -> None:
    policy = InputPolicy(height=32, width=48, resize=resize)
    crops = ten_crops(np.zeros((20, 70, 3), np.uint8), policy)
    assert {crop.shape for crop in crops} == {(32, 48, 3)}


@pytest.fixture
def corner_images(tmp_path: Path) -> Path:
    """Red objects, one at the edge of what the centre shows; green at the right, which half of
    the crops lose."""
    lines = ["path,label,class_name,x0,y0,x1,y1"]
    for n, right in enumerate((0, 3, 5, 7)):
        x0, y0, x1, y1 = OBJECTS[n]
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[y0:y1, x0:x1, 0] = 255
        pixels[:, 64 - right :, 1] = 255
        Image.fromarray(pixels).save(tmp_path / f"{n}.png")
        lines.append(f"{n}.png,0,a,{x0},{y0},{x1},{y1}")
    (tmp_path / "val.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "val.csv"


def test_classes_of_ten_crops_and_boxes_of_the_centre(
    corner_images: Path, tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    """Every figure again, from the runtime's own result on each crop."""
    engine = tiny_onnx(tmp_path / "tiny.onnx")
    plain = evaluate(engine, corner_images)
    crops = evaluate(engine, corner_images, ten_crop=True)
    right, overlaps = [], []
    with Localizer(engine) as localizer:
        policy = localizer.manifest.input
        for n in range(4):
            frame = np.array(Image.open(tmp_path / f"{n}.png"))
            views = localizer.run_batch(ten_crops(frame, policy))
            right.append(int(np.mean([one.scores for one in views], axis=0).argmax()) == 0)
            shown, _ = centre_crop((64, 64), policy)
            low, size = np.tile(shown[:2], 2), np.tile(shown[2:] - shown[:2], 2)
            box = low + np.array(views[CENTRE].box) / 32 * size
            truth = np.clip(np.array(OBJECTS[n]), low, low + size)
            overlaps.append(float(box_iou(box[None], truth[None])[0, 0]))
    assert plain.ten_crop is None
    assert crops.ten_crop is not None
    assert crops.ten_crop.passes == 11
    assert crops.ten_crop.one_view == plain.classification
    assert crops.classification.top1 == 25 * sum(right)
    assert crops.classification.top1 != plain.classification.top1
    assert plain.localization is not None
    assert crops.localization is not None
    stored = crops.localization.stored
    assert stored.box.by_iou == {
        str(level): 25.0 * sum(iou > level for iou in overlaps) for level in (0.3, 0.5, 0.7)
    }
    assert stored.box != plain.localization.stored.box
    both = sum(iou > 0.5 and named for iou, named in zip(overlaps, right, strict=True))
    assert stored.localization.top1_loc == 25 * both
    assert crops.rejection == plain.rejection  # the runtime never sees a crop
    assert crops.worst == plain.worst
    rows = {row[0].strip(): row[1] for row in crops.rows()}
    assert rows["network passes an image"] == "11"
    assert rows["boxes are those of"] == "the centre crop"
    assert "boxes are those of" not in {row[0] for row in plain.rows()}
    assert "Top-1 classification, ten crops" in rows
    assert json.loads(msgspec.json.encode(crops))["ten_crop"]["passes"] == 11


@pytest.mark.parametrize(
    ("frame", "resize", "shown", "target"),
    [
        ((64, 96), "stretch", [6, 4, 90, 60], [0, 0, 224, 224]),
        ((112, 224), "letterbox", [14, 0, 210, 112], [0, 48, 224, 176]),
        ((256, 512), "centre_crop", [144, 16, 368, 240], [0, 0, 224, 224]),
    ],
)
def test_where_the_centre_lies(
    frame: tuple[int, int], resize: ResizePolicy, shown: list[int], target: list[int]
) -> None:
    """16 of 256 pixels are lost at each end; a letterbox loses of its padding first."""
    policy = InputPolicy(height=224, width=224, resize=resize)
    found, at = centre_crop(frame, policy)
    assert (found.tolist(), at.tolist()) == (shown, target)
    truth = GroundTruth.of([np.array([[0.0, 0.0, 20.0, 30.0]])], [frame], policy)
    clipped = np.clip([0, 0, 20, 30], shown[:2] * 2, shown[2:] * 2)
    assert truth.seen_in_centres([frame], policy).boxes.tolist() == [[clipped.tolist()]]


def test_ten_crops_are_never_stored(
    corner_images: Path, tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    bundle = build_engine(tiny_onnx(tmp_path / "t.onnx"), tmp_path / "t.engine").path
    with pytest.raises(InputError, match="of ten crops are not those of the runtime"):
        evaluate(bundle, corner_images, ten_crop=True, update=True)
