"""EXIF turns a picture, but published boxes and masks are of its pixels as they are stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from published_sets import SETS, SIZE

from bas_edge.annotations import Annotation, read_annotations
from bas_edge.engine.manifest import InputPolicy
from bas_edge.evaluation import evaluate
from bas_edge.framing import place
from bas_edge.images import read_image
from bas_edge.mask_files import network_mask

TURNS = range(1, 9)


def with_orientation(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.load()
    image.save(path, "JPEG", quality=95, subsampling=0, exif=exif)


def named(root: Path, name: str) -> Annotation:
    (item,) = (item for item in read_annotations(root).items if item.path.name == name)
    return item


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(
    ("layout", "name"), [("cub", "test_1.jpg"), ("ilsvrc", "ILSVRC2012_val_00000001.JPEG")]
)
def test_boxes_and_masks_are_turned_with_the_image(
    layout: str, name: str, orientation: int, tmp_path: Path
) -> None:
    """The box is still round the only bright pixels, in the frame as the network sees it."""
    item = named(SETS[layout].make(tmp_path), name)
    with_orientation(item.path, orientation)
    frame = read_image(item.path)
    height, width = shape = (frame.shape[0], frame.shape[1])
    assert shape == (SIZE if orientation < 5 else SIZE[::-1])
    assert item.contradiction(shape) is None
    bright = frame[:, :, 1] > 128
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    around = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert item.boxes_in(shape).tolist() == [around]
    if item.mask is not None:
        placement = place(shape, InputPolicy(height=height, width=width))
        mask = network_mask(item.mask, placement, item.orientation(shape))
        np.testing.assert_array_equal(mask == 1, bright)


def test_a_set_is_measured_as_well_when_all_of_it_is_turned(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    """The engine sees colours, which way up they are is no matter to it."""
    root = SETS["cub"].make(tmp_path / "cub")
    engine = tiny_onnx(tmp_path / "tiny.onnx", classes=SETS["cub"].classes)
    before = evaluate(engine, root)
    for item, orientation in zip(read_annotations(root).items, (2, 3, 5, 6, 7, 8), strict=True):
        with_orientation(item.path, orientation)
    after = evaluate(engine, root)
    assert (after.images, after.skipped) == (6, ())
    assert after.localization is not None
    assert after.localization.stored.localization.gt_known == 100.0
    assert before.pixels is not None
    assert after.pixels is not None
    assert after.pixels.px_ap == pytest.approx(before.pixels.px_ap, abs=2)
    assert before.pixels.px_ap > 90


def test_boxes_that_were_drawn_on_the_upright_image(tmp_path: Path) -> None:
    """The annotation's size tells."""
    root = SETS["ilsvrc"].make(tmp_path)
    name = "ILSVRC2012_val_00000001"
    xml = root / f"Annotations/CLS-LOC/val/{name}.xml"
    height, width = SIZE
    size = f"<width>{width}</width><height>{height}</height>"
    assert size in xml.read_text()
    upright = f"<width>{height}</width><height>{width}</height>"
    xml.write_text(xml.read_text().replace(size, upright))
    item = named(root, f"{name}.JPEG")
    with_orientation(item.path, 6)
    assert item.contradiction((width, height)) is None
    assert item.boxes_in((width, height)).tolist() == [[20, 16, 64, 56]]  # cut at 64 pixels


def test_boxes_of_your_own_are_of_the_upright_image(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg")
    with_orientation(tmp_path / "a.jpg", 6)
    (tmp_path / "own.csv").write_text(
        "path,label,class_name,x0,y0,x1,y1,width,height\na.jpg,0,wren,1,2,3,8,4,8\n"
    )
    (item,) = read_annotations(tmp_path / "own.csv").items
    assert item.contradiction((8, 4)) is None
    assert item.boxes_in((8, 4)).tolist() == [[1, 2, 3, 8]]


def test_an_image_of_another_size_is_told_as_it_is_stored(tmp_path: Path) -> None:
    item = named(SETS["ilsvrc"].make(tmp_path), "ILSVRC2012_val_00000001.JPEG")
    Image.new("RGB", (10, 20)).save(item.path)
    with_orientation(item.path, 8)
    reason = item.contradiction((10, 20))
    assert reason == f"{item.path} is 10 × 20, but its annotation says {SIZE[1]} × {SIZE[0]}."
