"""Masks as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bas_edge.errors import InputError
from bas_edge.segmentation.image_set import ImageSet
from bas_edge.segmentation.masks import palette, read_mask, unique_names, write_mask


@pytest.mark.parametrize("mode", ["P", "L"])
def test_palette_and_grey_masks_are_class_numbers(tmp_path: Path, mode: str) -> None:
    values = np.array([[0, 3, 255]], np.uint8)
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    image.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", 3), values)


def test_an_unknown_value_is_told_with_its_count(tmp_path: Path) -> None:
    write_mask(tmp_path / "m.png", np.array([[0, 3, 3, 255]], np.uint8))
    with pytest.raises(InputError, match=r"m\.png has the value 3 in 2 pixels.* 1 to 2"):
        read_mask(tmp_path / "m.png", 2)


def test_a_coloured_mask_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match=r"has colours \(mode RGB\)"):
        read_mask(tmp_path / "m.png", 2)


def test_a_cut_off_mask_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    noise = np.random.default_rng(0).integers(0, 3, (64, 64), np.uint8)
    write_mask(path, noise)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"m\.png cannot be decoded"):
        read_mask(path, 2)
    path.write_text("no image")
    with pytest.raises(InputError, match=r"m\.png cannot be decoded"):
        read_mask(path, 2)


def test_the_palette_is_that_of_voc() -> None:
    colours = palette()
    assert colours[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192],
    ]  # fmt: skip


def test_images_of_one_name_have_masks_of_two() -> None:
    files = [Path("a/1.jpg"), Path("b/1.jpg"), Path("1_2.jpg"), Path("c/1.png")]
    assert unique_names(files) == ["1", "1_2", "1_2_2", "1_3"]


def test_a_mask_too_large_to_decode_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "m.png", np.zeros((5, 5), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match=r"m\.png cannot be decoded: .*exceeds limit"):
        read_mask(tmp_path / "m.png", 1)


def test_more_classes_than_a_mask_can_number_are_refused(tmp_path: Path) -> None:
    """Number 255 means "not counted", and 256 would be background again."""
    most = tuple(str(number) for number in range(254))
    assert len(ImageSet(tmp_path, "train", most, (), "").classes) == 254
    with pytest.raises(InputError, match="has 255 classes, and masks hold at most 254"):
        ImageSet(tmp_path, "train", (*most, "one more"), (), "")
