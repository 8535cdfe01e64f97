"""VOC 2012 in its devkit's folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bas_edge.errors import InputError
from bas_edge.segmentation import read_image_set
from bas_edge.segmentation.voc import VOC_CLASSES


@pytest.mark.parametrize("up", [0, 1, 2])
def test_a_devkit_is_read_from_any_of_its_folders(voc: Path, up: int) -> None:
    found = read_image_set([voc, *voc.parents][up], "train")
    assert found.classes == VOC_CLASSES
    assert [image.name for image in found.images] == ["2007_1", "2007_2"]
    assert [image.labels for image in found.images] == [(11, 14), (14,)]  # parts are no objects
    assert found.has_masks
    mask = found.images[0].mask
    assert mask is not None
    assert np.unique(mask.read()).tolist() == [0, 15]


def test_augmented_lists_name_paths_and_have_masks_of_their_own(voc: Path) -> None:
    found = read_image_set(voc, "train_aug")
    assert [image.name for image in found.images] == ["2007_2"]
    assert not found.has_masks
    with pytest.raises(InputError, match=r"'train_aug' of .* has no masks") as error:
        found.require_masks()
    assert "SegmentationClassAug" in str(error.value.hint)
    shutil.copytree(voc / "SegmentationClass", voc / "SegmentationClassAug")
    read_image_set(voc, "train_aug").require_masks()


@pytest.mark.parametrize(
    "missing", ["JPEGImages/2007_2.jpg", "Annotations/2007_2.xml", "SegmentationClass/2007_2.png"]
)
def test_a_missing_file_is_named_with_its_place(voc: Path, missing: str) -> None:
    (voc / missing).unlink()
    with pytest.raises(InputError, match="lists 2007_2, but") as error:
        read_image_set(voc, "train")
    assert str(voc / missing) in str(error.value)
    assert str((voc / missing).parent) in str(error.value.hint)


def test_an_unknown_split_says_which_there_are(voc: Path) -> None:
    with pytest.raises(InputError, match=r"no split 'vall'.*vall\.txt does not exist") as error:
        read_image_set(voc, "vall")
    assert error.value.hint == "The splits here are: train, train_aug."


def test_a_devkit_without_lists_says_where_they_belong(voc: Path) -> None:
    shutil.rmtree(voc / "ImageSets")
    with pytest.raises(InputError) as error:
        read_image_set(voc, "train")
    assert str(voc / "ImageSets" / "Segmentation") in str(error.value.hint)


def test_an_object_that_is_none_of_voc_is_named(voc: Path) -> None:
    xml = voc / "Annotations" / "2007_1.xml"
    xml.write_text(xml.read_text().replace("dog", "dgo"))
    with pytest.raises(InputError, match=r"2007_1\.xml has an object of class 'dgo'"):
        read_image_set(voc, "train")


def test_broken_xml_is_named(voc: Path) -> None:
    (voc / "Annotations" / "2007_1.xml").write_text("<annotation><object>")
    with pytest.raises(InputError, match=r"2007_1\.xml is not a readable VOC annotation"):
        read_image_set(voc, "train")


def test_an_empty_list_is_refused(voc: Path) -> None:
    (voc / "ImageSets" / "Segmentation" / "train.txt").write_text("\n")
    with pytest.raises(InputError, match="lists no images"):
        read_image_set(voc, "train")


def test_any_other_folder_is_told_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither index\.csv, nor ImageSets/Segmentation"):
        read_image_set(tmp_path)
    with pytest.raises(InputError, match="No such data set folder"):
        read_image_set(tmp_path / "nothing")
    (tmp_path / "val.csv").touch()
    with pytest.raises(InputError, match=r"val\.csv is a file, and data with several labels"):
        read_image_set(tmp_path / "val.csv")
