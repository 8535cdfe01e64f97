"""COCO 2014 in its official folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bas_edge.errors import InputError, MissingExtraError
from bas_edge.segmentation import read_image_set

Edit = Callable[[Path, Callable[[dict[str, Any]], object]], None]


@pytest.fixture
def instances(coco: Path) -> Path:
    return coco / "annotations" / "instances_train2014.json"


@pytest.mark.parametrize("split", ["train", "train2014"])
def test_labels_are_the_categories_present_in_the_order_of_their_ids(
    coco: Path, split: str
) -> None:
    found = read_image_set(coco, split)
    assert found.split == "train2014"
    assert found.classes == ("cat", "dog")  # ids 17 and 18, listed the other way round
    assert [image.labels for image in found.images] == [(0, 1), ()]


def test_small_objects_lie_over_large_ones_and_crowds_do_not_count(coco: Path) -> None:
    mask = read_image_set(coco, "train").images[0].mask
    assert mask is not None
    expected = np.zeros((6, 8), np.uint8)
    expected[:, 6:] = 255  # run lengths go down the columns: 36 of 48
    expected[0:4, 0:4] = 1
    expected[1:3, 1:3] = 2
    np.testing.assert_array_equal(mask.read(), expected)


def test_an_image_without_annotations_is_background(coco: Path) -> None:
    mask = read_image_set(coco, "train").images[1].mask
    assert mask is not None
    assert not mask.read().any()


def test_labels_need_no_pycocotools_and_masks_name_the_extra(
    coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.mask", None)
    mask = read_image_set(coco, "train").images[0].mask
    assert mask is not None
    with pytest.raises(MissingExtraError, match=r"Drawing COCO masks") as error:
        mask.read()
    assert error.value.hint == "pip install 'bas-edge[segmentation]'"


def test_a_missing_image_is_named_with_its_place(coco: Path) -> None:
    (coco / "train2014" / "COCO_9.jpg").unlink()
    with pytest.raises(InputError, match=r"lists COCO_9\.jpg, but .*train2014/COCO_9\.jpg"):
        read_image_set(coco, "train")


def test_an_unknown_split_says_which_there_are(coco: Path) -> None:
    with pytest.raises(InputError, match=r"instances_val\.json does not exist") as error:
        read_image_set(coco, "val")
    assert error.value.hint == "The splits here are: train2014."


@pytest.mark.parametrize(("key", "value"), [("category_id", 99), ("image_id", 8)])
def test_an_annotation_of_nothing_is_refused(
    coco: Path, instances: Path, edit_json: Edit, key: str, value: int
) -> None:
    edit_json(instances, lambda content: content["annotations"][1].update({key: value}))
    with pytest.raises(InputError, match=f"{key} {value}, which is not listed"):
        read_image_set(coco, "train")


def test_another_json_is_refused(coco: Path, instances: Path, edit_json: Edit) -> None:
    edit_json(instances, lambda content: content.pop("categories"))
    with pytest.raises(InputError, match=r"is not COCO's instances JSON: .*categories"):
        read_image_set(coco, "train")
    instances.write_text("{")
    with pytest.raises(InputError, match="is not COCO's instances JSON"):
        read_image_set(coco, "train")


def test_an_outline_that_cannot_be_drawn_names_its_image(
    coco: Path, instances: Path, edit_json: Edit
) -> None:
    edit_json(instances, lambda content: content["annotations"][0].update(segmentation=5))
    mask = read_image_set(coco, "train").images[0].mask
    assert mask is not None
    with pytest.raises(InputError, match=r"An outline of .*COCO_7\.jpg cannot be drawn"):
        mask.read()


def test_run_lengths_of_another_size_are_refused(
    coco: Path, instances: Path, edit_json: Edit
) -> None:
    runs = {"size": [5, 8], "counts": [40]}
    edit_json(instances, lambda content: content["annotations"][2].update(segmentation=runs))
    mask = read_image_set(coco, "train").images[0].mask
    assert mask is not None
    with pytest.raises(InputError, match="is 8 × 5, but the image is 8 × 6"):
        mask.read()
