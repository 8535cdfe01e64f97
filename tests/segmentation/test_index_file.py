"""index.csv with classes.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bas_edge.errors import InputError
from bas_edge.segmentation import read_image_set, write_mask
from bas_edge.segmentation.index_file import write_index


def test_an_index_is_read_by_split(index: Path) -> None:
    found = read_image_set(index, "train")
    assert found.classes == ("cup", "plate")
    assert [(image.name, image.labels) for image in found.images] == [("a", (0, 1))]
    mask = found.images[0].mask
    assert mask is not None
    assert np.unique(mask.read()).tolist() == [0, 1, 2, 255]
    assert not read_image_set(index, "val").has_masks


def test_a_mask_that_is_missing_among_others_is_named(index: Path) -> None:
    text = (index / "index.csv").read_text()
    (index / "index.csv").write_text(text.replace(",val,", ",train,"))
    with pytest.raises(InputError, match=r"1 of the 2 images of .* have no mask; the first is .*b"):
        read_image_set(index, "train").require_masks()


def test_an_unknown_split_says_which_there_are(index: Path) -> None:
    with pytest.raises(InputError, match="no rows of the split 'test'") as error:
        read_image_set(index, "test")
    assert error.value.hint == "Its splits are: train, val."


def test_an_unknown_label_is_named_with_its_line(index: Path) -> None:
    text = (index / "index.csv").read_text()
    (index / "index.csv").write_text(text.replace("plate;cup", "plate;cpu"))
    with pytest.raises(InputError, match=r"line 2: 'cpu' is not one of the 2 classes") as error:
        read_image_set(index, "train")
    assert error.value.hint == "Did you mean 'cup'?"


@pytest.mark.parametrize("missing", ["images/a.png", "masks/a.png"])
def test_a_missing_file_is_named_with_its_line(index: Path, missing: str) -> None:
    (index / missing).unlink()
    with pytest.raises(InputError, match=rf"line 2: .*{missing} does not exist"):
        read_image_set(index, "train")


def test_missing_class_names_are_told_where_they_belong(index: Path) -> None:
    (index / "classes.json").unlink()
    with pytest.raises(InputError, match=r"has index\.csv but no classes\.json"):
        read_image_set(index, "train")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"1": "cup", "3": "plate"}, "numbered 1, 3; they must be 1 to 2"),
        ({"1": "cup", "2": "cup"}, "two classes are named 'cup'"),
        ({"0": "background"}, "numbered not at all"),
    ],
)
def test_class_numbers_have_no_gap(index: Path, values: dict[str, str], words: str) -> None:
    (index / "classes.json").write_text(json.dumps({"mask_values": values}))
    with pytest.raises(InputError, match=words):
        read_image_set(index, "train")


def test_a_missing_column_is_named(index: Path) -> None:
    (index / "index.csv").write_text("path,label\nimages/a.png,cup\n")
    with pytest.raises(InputError, match="has no column 'labels'"):
        read_image_set(index, "train")


def test_what_is_written_is_read_back(index: Path, tmp_path: Path) -> None:
    root = tmp_path / "elsewhere"
    root.mkdir()
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    write_mask(root / "m.png", mask)
    write_index(root, ("one", "zwei"), [(index / "images/a.png", root / "m.png", (1,))], "train")
    found = read_image_set(root, "train")
    assert found.classes == ("one", "zwei")
    (image,) = found.images
    assert image.path.resolve() == (index / "images" / "a.png").resolve()
    assert image.labels == (1,)
    assert image.mask is not None
    np.testing.assert_array_equal(image.mask.read(), mask)


@pytest.mark.shared_data
def test_the_real_index_is_read(shared_data: Path) -> None:
    found = read_image_set(shared_data / "coco_voc20", "train")
    assert (len(found.images), len(found.classes)) == (103, 20)
    for image in found.images:
        assert image.mask is not None
        present = set(np.unique(image.mask.read()).tolist()) - {0, 255}
        assert present == {label + 1 for label in image.labels}
