"""A folder that is almost right says which file was expected where, or which two disagree."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from published_sets import SETS

from bas_edge.annotations import read_annotations
from bas_edge.errors import InputError

Break = Callable[[Path], object]


def drop(name: str) -> Break:
    def change(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def replace(name: str, before: str, after: str) -> Break:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert before in text
        (root / name).write_text(text.replace(before, after))

    return change


def repeat(name: str, line: int, edit: tuple[str, str] = ("", "")) -> Break:
    """Lists a line again at the end, perhaps otherwise."""

    def change(root: Path) -> None:
        lines = (root / name).read_text().splitlines()
        (root / name).write_text("\n".join([*lines, lines[line].replace(*edit)]))

    return change


VAL_XML = "Annotations/CLS-LOC/val/ILSVRC2012_val_00000003.xml"
MASK = "test/0a_x/0000000000000000_"
CASES = [
    ("cub", drop("images.txt"), r"list of images is expected at {root}/images\.txt"),
    ("cub", drop("classes.txt"), r"list of classes is expected at {root}/classes\.txt"),
    ("cub", drop("bounding_boxes.txt"), r"list of boxes is expected at {root}/bounding_boxes"),
    ("cub", drop("images"), r"folder of images is expected at {root}/images,"),
    ("cub", drop("images/002.b/test_1.jpg"), r"lists .*test_1\.jpg, .* 1 of 6 images are missing"),
    ("cub", drop("segmentations/002.b/test_1.png"), r"mask of 002\.b/test_1\.jpg is expected at"),
    ("cub", replace("train_test_split.txt", "8 0\n", ""), r"does not list image 8, but .*images"),
    ("cub", replace("image_class_labels.txt", "8 2", "8 9"), r"class 9, which .*classes\.txt does"),
    ("cub", replace("bounding_boxes.txt", "7 8.0 8.0 32.0 32.0", "7 8.0 8.0 0.0 3"), "is no box"),
    ("cub", replace("images.txt", "8 002.b", "7 002.b"), r"line 8: 7 is listed twice"),
    ("cub", replace("train_test_split.txt", "8 0", "8 2"), r"value 2, which is neither 1 .* nor 0"),
    ("cub", replace("train_test_split.txt", " 0", " 1"), "split 'test' of CUB.* has no images"),
    ("ilsvrc", drop(VAL_XML), rf"annotation is expected at {{root}}/{VAL_XML}"),
    ("ilsvrc", drop("Data/CLS-LOC/val"), r"folder of val images is expected at {root}/Data/CLS"),
    ("ilsvrc", drop("Annotations"), r"val annotations is expected at {root}/Annotations/CLS-LOC"),
    ("ilsvrc", replace(VAL_XML, "n01", "n99"), "has an object n99000001, which is no folder of"),
    ("ilsvrc", replace(VAL_XML, "</object>", ""), "is not an annotation in XML: mismatched tag"),
    ("ilsvrc", replace(VAL_XML, "<ymax>32", "<ymax>-1"), "ends before it starts"),
    ("ilsvrc", replace(VAL_XML, "<ymax>32", "<ymax>x"), "is not four numbers"),
    ("ilsvrc_lists", drop("val_gt.txt"), r"list of boxes is expected at {root}/val_gt\.txt"),
    ("ilsvrc_lists", drop("val_list.txt"), r"list of labels is expected at {root}/val_list\.txt"),
    ("ilsvrc_lists", replace("val_gt.txt", " ; 0 0 48 32", " ; 0 0 48"), "3 numbers are no boxes"),
    ("ilsvrc_lists", replace("val_list.txt", "3.JPEG;0", "3.JPEG;1"), "the label '1' is not that"),
    (
        "ilsvrc_lists",
        repeat("val_list.txt", 0),
        r"val_list\.txt, line 7: n01.* is listed twice",
    ),
    ("ilsvrc_lists", repeat("val_gt.txt", 1), r"val_gt\.txt, line 7: n02000002/.* is listed twice"),
    ("open_images", drop(f"{MASK}ignore.png"), rf"ignored pixels is expected at {{root}}/{MASK}ig"),
    ("wsoleval_boxes", drop("test/class_labels.txt"), r"list of labels is expected at {root}/test"),
    ("wsoleval_boxes", drop("test"), r"metadata of the split test is expected at {root}/test,"),
    ("wsoleval_boxes", drop("../../dataset"), r"images of CUB is expected at .*/dataset/CUB, whi"),
    ("wsoleval_boxes", replace("test/class_labels.txt", "2.jpg,2", "2.jpg,7"), "without a gap"),
    (
        "wsoleval_boxes",
        replace("test/localization.txt", "001.a/test_3.jpg", "x/y.jpg"),
        r"localization\.txt does not list 001\.a/test_3\.jpg, but .*image_ids",
    ),
    (
        "wsoleval_masks",
        replace("test/localization.txt", "bbbb1111.png,", "bbbb1111.png,x.png"),
        r"has a second file of ignored pixels, x\.png",
    ),
    ("wsoleval_boxes", repeat("test/image_ids.txt", 2), r"image_ids\.txt, line 7: .*listed twice"),
    (
        "wsoleval_boxes",
        repeat("test/class_labels.txt", 0, (",0", ",2")),
        r"class_labels\.txt, line 7: 001\.a/test_0\.jpg is listed twice",
    ),
    ("wsoleval_boxes", repeat("test/image_sizes.txt", 0), r"image_sizes\.txt, line 7: .*twice"),
    (
        "wsoleval_boxes",
        replace("test/class_labels.txt", "2.jpg,2", "2.jpg,²"),
        "label '²' is not",
    ),
    ("wsoleval_boxes", replace("test/localization.txt", "48,32", "nan,32"), "is not finite"),
    ("aircraft", repeat("variants.txt", 1), r"variants\.txt, line 4: Boeing 717 is listed twice"),
    ("aircraft", repeat("images_box.txt", 1), r"images_box\.txt, line 19: 0000001 is listed twice"),
    ("aircraft", repeat("images_variant_test.txt", 1), r"line 7: 2000001 is listed twice"),
    ("aircraft", drop("variants.txt"), r"list of variants is expected at {root}/variants\.txt"),
    ("aircraft", drop("images_box.txt"), r"list of boxes is expected at {root}/images_box\.txt"),
    ("aircraft", replace("images_box.txt", "2000003 ", "2900003 "), "has no box of 2000003"),
    ("aircraft", replace("variants.txt", "Hawk", "Huwk"), r"'Hawk T1' is not in .*variants\.txt"),
    ("cars", drop("devkit"), r"list of classes is expected at {root}/devkit/cars_meta\.mat"),
    (
        "cars",
        drop("cars_test_annos_withlabels.mat"),
        r"test images is expected at {root}/cars_test_annos_withlabels\.mat",
    ),
    ("cars", drop("cars_test"), r"folder of test images is expected at {root}/cars_test,"),
    ("dogs", drop("test_list.mat"), r"list of test images is expected at {root}/test_list\.mat"),
    ("dogs", drop("Annotation"), r"annotation of .* is expected at {root}/Annotation/"),
]


@pytest.mark.parametrize(("name", "change", "message"), CASES, ids=[case[2] for case in CASES])
def test_it_is_named(name: str, change: Break, message: str, tmp_path: Path) -> None:
    root = SETS[name].make(tmp_path)
    read_annotations(root)
    change(root)
    with pytest.raises(InputError, match=message.format(root=re.escape(str(root)))) as caught:
        read_annotations(root)
    assert "Traceback" not in str(caught.value.hint)


def test_one_file_of_a_common_name_is_no_sign(tmp_path: Path) -> None:
    """A folder a class with a list of its own beside them."""
    (tmp_path / "wren").mkdir()
    (tmp_path / "wren/0.png").touch()
    (tmp_path / "images.txt").write_text("wren/0.png")
    assert read_annotations(tmp_path).classes == ("wren",)


def test_images_without_masks(tmp_path: Path) -> None:
    root = SETS["open_images"].make(tmp_path)
    for mask in (root / "test/0b_x").glob("0000000000000001_m*.png"):
        mask.unlink()
    expected = r"masks of 0000000000000001\.jpg are expected at .*/0b_x/0000000000000001_m\*\.png"
    with pytest.raises(InputError, match=expected):
        read_annotations(root)
    assert len(read_annotations(root, purpose="training").items) == 6


def test_the_folder_around_a_set(tmp_path: Path) -> None:
    root = SETS["cub"].make(tmp_path / "CUB_200_2011")
    (tmp_path / "attributes.txt").touch()
    with pytest.raises(InputError, match="is not CUB-200-2011 itself") as caught:
        read_annotations(tmp_path)
    assert caught.value.hint == f"Name {root}"


def test_one_split_of_wsolevaluation(tmp_path: Path) -> None:
    root = SETS["wsoleval_boxes"].make(tmp_path)
    with pytest.raises(InputError, match="is one split of wsolevaluation's metadata") as caught:
        read_annotations(root / "test")
    assert caught.value.hint == f"Name the folder of the set: {root} --split test"


def test_cars_of_the_devkit_have_no_test_labels(tmp_path: Path) -> None:
    """The devkit's own list of test images, put where the one with labels belongs."""
    from scipy.io import savemat

    root = SETS["cars"].make(tmp_path)
    rows = np.array([(1, "0.jpg"), (2, "1.jpg")], [("bbox_x1", object), ("fname", object)])
    savemat(root / "cars_test_annos_withlabels.mat", {"annotations": rows})
    with pytest.raises(InputError, match="has no 'class' of its images"):
        read_annotations(root)


def test_a_file_that_is_no_matlab_file(tmp_path: Path) -> None:
    root = SETS["dogs"].make(tmp_path)
    (root / "test_list.mat").write_text("no list")
    with pytest.raises(InputError, match=r"test_list\.mat is not a MATLAB file that SciPy reads"):
        read_annotations(root)
