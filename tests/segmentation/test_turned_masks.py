"""EXIF turns a picture; masks of VOC and COCO are of its pixels as they are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bas_edge.images import read_image
from bas_edge.segmentation import ImageSet, read_image_set


def paint(images: ImageSet, orientation: int) -> None:
    """Make the pixels of each image white where its mask is no background, then turn it."""
    for one in images.images:
        assert one.mask is not None
        bright = np.where(one.mask.read() > 0, 255, 0).astype(np.uint8)
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels = np.repeat(bright[:, :, None], 3, axis=2)
        Image.fromarray(pixels).save(one.path, "JPEG", quality=100, subsampling=0, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_of_a_devkit_are_turned_with_their_images(voc: Path, orientation: int) -> None:
    images = read_image_set(voc, "train")
    paint(images, orientation)
    for one in images.images:
        assert one.mask is not None
        np.testing.assert_array_equal(one.mask.read() > 0, read_image(one.path)[:, :, 1] > 128)


def test_masks_of_coco_are_turned_with_their_images(coco: Path) -> None:
    pytest.importorskip("pycocotools")
    images = read_image_set(coco, "train2014")
    paint(images, 6)
    one = images.images[0]
    assert one.mask is not None
    np.testing.assert_array_equal(one.mask.read() > 0, read_image(one.path)[:, :, 1] > 128)
