from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bas_edge.annotations import read_annotations
from bas_edge.errors import InputError

WriteCsv = Callable[..., Path]


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCsv:
    """write_csv("header", "row", …) → the path, with every image that the rows name made."""

    def write(*lines: str, encoding: str = "utf-8", images: bool = True) -> Path:
        path = tmp_path / "data.csv"
        path.write_bytes("\n".join(lines).encode(encoding))
        for line in lines[1:]:
            name = line.split(",")[0]
            if images and name.endswith(".jpg"):
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).touch()
        return path

    return write


LABELS = "path,label,class_name"
BOXES = f"{LABELS},x0,y0,x1,y1"
SIZES = f"{BOXES},width,height"


def test_labels_only(write_csv: WriteCsv, tmp_path: Path) -> None:
    path = write_csv(LABELS, "img/b.jpg,1,owl", "img/a.jpg,0,wren", "img/c.jpg,1,owl")
    data = read_annotations(path)
    assert [item.path for item in data.items] == [
        tmp_path / "img" / name for name in ("b.jpg", "a.jpg", "c.jpg")
    ]
    assert [(item.label, item.class_name) for item in data.items] == [
        (1, "owl"),
        (0, "wren"),
        (1, "owl"),
    ]
    assert data.classes == ("wren", "owl")
    assert not data.has_boxes
    assert data.items[0].boxes is None
    assert data.items[0].size is None
    assert data.background == ()
    assert data.warnings == ("Class 'wren' has only one image; it cannot be learnt from one.",)


def test_boxes_and_sizes(write_csv: WriteCsv) -> None:
    path = write_csv(
        SIZES,
        "a.jpg,0,wren,1,2,30.5,40,100,50",
        "b.jpg,1,owl,0,0,10,10,10,10",
        "a.jpg,0,wren,50,20,60,30,100,50",
    )
    data = read_annotations(path)
    assert data.has_boxes
    assert len(data.items) == 2
    boxes = data.items[0].boxes
    assert boxes is not None
    assert boxes.dtype == np.float64
    assert boxes.tolist() == [[1, 2, 30.5, 40], [50, 20, 60, 30]]
    assert data.items[0].size == (50, 100)


def test_empty_box_cells_everywhere_are_no_boxes(write_csv: WriteCsv) -> None:
    data = read_annotations(write_csv(SIZES, "a.jpg,0,wren,,,,,,", "b.jpg,0,wren,,,,,,"))
    assert not data.has_boxes
    assert data.items[0].size is None
    assert data.warnings == ()


def test_a_spreadsheets_byte_order_mark_and_spaces(write_csv: WriteCsv) -> None:
    path = write_csv(LABELS, "a.jpg, 0 , zaunkönig ", "b.jpg,0,zaunkönig", encoding="utf-8-sig")
    assert read_annotations(path).classes == ("zaunkönig",)


def test_columns_in_any_order(write_csv: WriteCsv, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    data = read_annotations(write_csv("class_name,path,label", "wren,a.jpg,0"))
    assert data.items[0].class_name == "wren"


GOOD = "a.jpg,0,wren"
BAD = [
    pytest.param([], "has no column 'path'", "The header is", id="empty file"),
    pytest.param([LABELS], "has a header but no rows", None, id="no rows"),
    pytest.param(
        ["path,lable,class_name", GOOD],
        "unknown column 'lable'",
        "Did you mean 'label'?",
        id="typo",
    ),
    pytest.param(
        ["path;label;class_name", "a.jpg;0;wren"],
        "has one column, 'path;label;class_name'",
        "Separate the columns by commas.",
        id="semicolons",
    ),
    pytest.param(["path,label,class_name,zzzz", GOOD], "'zzzz'", "Known: path", id="unknown"),
    pytest.param(["path,label,path", GOOD], "'path' twice", None, id="twice"),
    pytest.param(["path,label", "a.jpg,0"], "no column 'class_name'", "The header", id="missing"),
    pytest.param([f"{LABELS},x0,y0,x1", GOOD], "no column 'y1'", "The header", id="half a box"),
    pytest.param([f"{LABELS},width", GOOD], "no column 'height'", "The header", id="half a size"),
    pytest.param([LABELS, "a.jpg,0"], "line 2: the row does not have as many", None, id="short"),
    pytest.param([LABELS, "a.jpg,0,wren,5"], "as many cells as", None, id="long"),
    pytest.param([LABELS, ",0,wren"], "must not be empty", None, id="no path"),
    pytest.param([LABELS, "a.jpg,-1,wren"], "label is '-1', but must be a whole", None, id="-1"),
    pytest.param([LABELS, "a.jpg,1.5,wren"], "label is '1.5'", None, id="1.5"),
    pytest.param([LABELS, "a.jpg,one,wren"], "label is 'one'", None, id="word"),
    pytest.param([LABELS, "a.jpg,,wren"], "label is ''", None, id="empty label"),
    pytest.param([LABELS, "a.jpg,²,wren"], "label is '²'", None, id="unicode digit"),
    pytest.param(
        [LABELS, GOOD, "b.jpg,7,owl"],
        "label 7 is out of range: there are 2 classes, so labels go from 0 to 1, and none is 1",
        None,
        id="gap",
    ),
    pytest.param(
        [LABELS, GOOD, "b.jpg,0,owl"],
        "line 3: label 0 is named 'owl' here, but 'wren'",
        None,
        id="two names",
    ),
    pytest.param(
        [LABELS, GOOD, "b.jpg,1,wren"],
        "class 'wren' has label 1 here, but 0",
        None,
        id="two labels",
    ),
    pytest.param(
        [LABELS, GOOD, "a.jpg,1,owl"], r"a.jpg has label 1 \(owl\).*in line 2", None, id="disagree"
    ),
    pytest.param([BOXES, f"{GOOD},1,2,x,4"], r"\(1, 2, x, 4\) is not four numbers", None, id="x"),
    pytest.param([BOXES, f"{GOOD},1,2,,4"], "is not four numbers", None, id="partly empty"),
    pytest.param([BOXES, f"{GOOD},1,2,inf,4"], "is not finite", None, id="inf"),
    pytest.param([BOXES, f"{GOOD},1,2,nan,4"], "is not finite", None, id="nan"),
    pytest.param([BOXES, f"{GOOD},5,2,5,4"], "is empty", "corner to corner", id="no width"),
    pytest.param([BOXES, f"{GOOD},5,9,7,4"], "is empty", "corner to corner", id="negative height"),
    pytest.param([BOXES, f"{GOOD},-1,2,5,4"], "reaches outside the image", None, id="negative"),
    pytest.param(
        [SIZES, f"{GOOD},0,0,11,5,10,10"], "reaches outside the 10 × 10 image", None, id="outside"
    ),
    pytest.param([SIZES, f"{GOOD},0,0,1,1,0,10"], "image size is 0 × 10", None, id="size 0"),
    pytest.param([SIZES, f"{GOOD},0,0,1,1,ten,10"], "width is 'ten'", None, id="size word"),
    pytest.param(
        [BOXES, f"{GOOD},0,0,1,1", "b.jpg,0,wren,,,,"],
        "line 3: b.jpg has no box, but other images have; 1 of 2",
        "Give every image a box",
        id="one without a box",
    ),
    pytest.param([LABELS, '"a.jpg,0,wren'], "not well-formed CSV", None, id="open quote"),
]


@pytest.mark.parametrize(("lines", "message", "hint"), BAD)
def test_a_bad_csv_is_named_with_its_line(
    write_csv: WriteCsv, lines: list[str], message: str, hint: str | None
) -> None:
    path = write_csv(*lines)
    with pytest.raises(InputError, match=message) as caught:
        read_annotations(path)
    assert "data.csv" in str(caught.value)
    assert hint is None or hint in str(caught.value.hint)


def test_missing_images_are_counted_and_the_first_is_named(write_csv: WriteCsv) -> None:
    path = write_csv(LABELS, "x.jpg,0,wren", "y.jpg,0,wren", images=False)
    with pytest.raises(InputError, match=r"lists .*x\.jpg, which does not exist; 2 of 2"):
        read_annotations(path)


@pytest.mark.skipif(os.name == "nt", reason="there these are folders")
def test_paths_as_windows_writes_them(write_csv: WriteCsv) -> None:
    path = write_csv(LABELS, "wren\\x.jpg,0,wren", images=False)
    with pytest.raises(InputError, match=r"wren\\x\.jpg, which does not exist") as caught:
        read_annotations(path)
    assert "Write / between folders" in str(caught.value.hint)


def test_not_utf8(write_csv: WriteCsv) -> None:
    with pytest.raises(InputError, match="is not UTF-8"):
        read_annotations(write_csv(LABELS, "a.jpg,0,kühn", encoding="latin-1"))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or folder"):
        read_annotations(tmp_path / "none.csv")


def test_a_csv_is_held_against_the_classes_of_an_engine(write_csv: WriteCsv) -> None:
    path = write_csv(LABELS, "a.jpg,2,owl", "b.jpg,0,wren")
    assert read_annotations(path, classes=("wren", "tit", "owl")).classes == ("wren", "tit", "owl")
    with pytest.raises(InputError, match="line 2: label 2 is out of range: there are 2 classes"):
        read_annotations(path, classes=("wren", "owl"))
    with pytest.raises(InputError, match="label 2 is named 'owl' here, but class 2 is 'jay'"):
        read_annotations(path, classes=("wren", "tit", "jay"))


# One folder a class


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    root = tmp_path / "birds"
    for name in ["wren/a.jpg", "owl/b.png", "owl/deep/c.jpg", "background/sky.jpg", "owl/x.txt"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / ".cache").mkdir()
    return root


def test_folders(folders: Path) -> None:
    data = read_annotations(folders)
    assert data.classes == ("owl", "wren")
    assert [(item.path.name, item.label) for item in data.items] == [
        ("b.png", 0),
        ("c.jpg", 0),
        ("a.jpg", 1),
    ]
    assert data.background == (folders / "background" / "sky.jpg",)
    assert not data.has_boxes
    assert data.warnings == ("Class 'wren' has only one image; it cannot be learnt from one.",)


def test_folders_are_held_against_the_classes_of_an_engine(folders: Path) -> None:
    data = read_annotations(folders, classes=("jay", "wren", "owl"))
    assert {item.class_name: item.label for item in data.items} == {"owl": 2, "wren": 1}
    with pytest.raises(InputError, match="wren is not one of the 2 classes") as caught:
        read_annotations(folders, classes=("owl", "wrens"))
    assert caught.value.hint == "Did you mean 'wrens'?"


def test_a_folder_without_class_folders(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(InputError, match="has no class folders") as caught:
        read_annotations(tmp_path)
    assert "sparrow/*.jpg" in str(caught.value.hint)


def test_a_class_folder_without_images(folders: Path) -> None:
    (folders / "empty").mkdir()
    with pytest.raises(InputError, match=r"No images in .*empty"):
        read_annotations(folders)


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "count", "boxed"), [("train", 1500, False), ("val", 702, True)])
def test_real_annotations(shared_data: Path, name: str, count: int, boxed: bool) -> None:
    data = read_annotations(shared_data / "cub50" / f"{name}.csv")
    assert len(data.items) == count
    assert len(data.classes) == 50
    assert data.has_boxes == boxed
    assert data.warnings == ()


def test_many_classes_of_one_image_are_one_warning(write_csv: WriteCsv) -> None:
    path = write_csv(LABELS, *(f"{label}.jpg,{label},class{label}" for label in range(7)))
    (warning,) = read_annotations(path).warnings
    assert warning.startswith("7 classes have only one image each and cannot be learnt from it: ")
    assert warning.endswith("'class0', 'class1', 'class2', 'class3', 'class4' and 2 more.")
