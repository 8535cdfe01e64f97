"""Two images of three classes in each of the official folder formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

XML = "<annotation><object><name>{}</name>{}</object><object><name>{}</name></object></annotation>"


def save_image(path: Path, size: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def save_mask(path: Path, values: object, size: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size, np.uint8)
    mask[1:3, 2:5] = values
    image = Image.fromarray(mask)
    image.putpalette(bytes(range(256)) * 3)
    image.save(path)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for name, first, second in (("2007_1", "dog", "person"), ("2007_2", "person", "person")):
        save_image(root / "JPEGImages" / f"{name}.jpg")
        save_mask(root / "SegmentationClass" / f"{name}.png", 15)
        xml = root / "Annotations" / f"{name}.xml"
        xml.parent.mkdir(exist_ok=True)
        part = "<part><name>head</name></part>"
        xml.write_text(XML.format(first, part, second))
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_1\n2007_2\n")
    aug = "/JPEGImages/2007_2.jpg /SegmentationClassAug/2007_2.png\n"
    (lists / "train_aug.txt").write_text(aug)
    return root


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Image 7 has a cat (id 17) under a smaller dog (id 18), and a crowd; image 9 has nothing."""
    root = tmp_path / "coco"
    for number in (7, 9):
        save_image(root / "train2014" / f"COCO_{number}.jpg")
    content = {
        "info": {"year": 2014},
        "images": [
            {"id": n, "file_name": f"COCO_{n}.jpg", "height": 6, "width": 8, "license": 1}
            for n in (7, 9)
        ],
        "categories": [
            {"id": 18, "name": "dog", "supercategory": "animal"},
            {"id": 17, "name": "cat", "supercategory": "animal"},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "area": 4, "iscrowd": 0,
             "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]},
            {"id": 2, "image_id": 7, "category_id": 17, "area": 16, "iscrowd": 0,
             "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]},
            {"id": 3, "image_id": 7, "category_id": 17, "area": 48, "iscrowd": 1,
             "segmentation": {"size": [6, 8], "counts": [36, 12]}},
        ],
    }  # fmt: skip
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_train2014.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def index(tmp_path: Path) -> Path:
    root = tmp_path / "index"
    save_image(root / "images" / "a.png")
    save_image(root / "images" / "b.png")
    save_mask(root / "masks" / "a.png", [1, 2, 255])
    values = {"0": "background", "1": "cup", "2": "plate", "255": "ignore"}
    (root / "classes.json").write_text(json.dumps({"mask_values": values}))
    (root / "index.csv").write_text(
        "path,mask_path,labels,split,licence\n"
        "images/a.png,masks/a.png,plate;cup,train,free\n"
        "images/b.png,,cup,val,free\n"
    )
    return root


@pytest.fixture
def edit_json() -> Callable[[Path, Callable[[dict[str, object]], object]], None]:
    def edit(path: Path, change: Callable[[dict[str, object]], object]) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit
