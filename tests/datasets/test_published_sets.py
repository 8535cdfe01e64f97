"""What each published layout is read as: images, labels, boxes, masks and splits."""

from __future__ import annotations

import builtins
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published_sets import BOXES, SETS, SIZE

from bas_edge.annotations import published_images, read_annotations
from bas_edge.errors import InputError, MissingExtraError
from bas_edge.framing import InputPolicy, place
from bas_edge.mask_files import network_mask

SECOND_BOX = {"ilsvrc", "ilsvrc_lists", "wsoleval_boxes", "dogs"}


@pytest.mark.parametrize("name", SETS)
def test_the_evaluation_split(name: str, published: dict[str, Path]) -> None:
    known, root = SETS[name], published[name]
    found = read_annotations(root)
    assert found.classes == known.classes
    assert found.split == known.test
    assert len(found.items) == 6
    assert (found.has_boxes, found.has_masks) == (known.boxes, known.masks)
    assert read_annotations(root, split=known.test).items[0].path == found.items[0].path
    for item in found.items:
        n = int(item.path.stem.rpartition("_")[2]) % 1000
        assert item.path.is_file()
        assert item.class_name == known.classes[n % 3] == found.classes[item.label]
        if known.boxes:
            boxes = item.boxes_in(SIZE).tolist()
            assert list(map(float, BOXES[n])) in boxes
            assert len(boxes) == (2 if n == 5 and name in SECOND_BOX else 1)
        if known.masks and item.mask is not None:
            mask = network_mask(item.mask, place(SIZE, InputPolicy(height=SIZE[0], width=SIZE[1])))
            x0, y0, x1, y1 = BOXES[n]
            assert (mask[y0:y1, x0:x1] == 1).all()
            assert (mask == 1).sum() == (y1 - y0) * (x1 - x0)
            ignored = 0 if name == "cub" else (y1 - y0) * (SIZE[1] - x1)
            assert (mask == 255).sum() == ignored


@pytest.mark.parametrize("name", SETS)
def test_training_gets_labels_and_opens_no_boxes(
    name: str, published: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guarantee: no file that tells where an object is is opened, whatever reads it."""
    known, root = SETS[name], published[name]
    opened: list[str] = []
    real_open = io.open

    def watched(file: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(file, int) and Path(file).is_relative_to(root):
            opened.append(Path(file).relative_to(root).as_posix())
        return real_open(file, *args, **options)

    def located() -> list[str]:
        words = ("bounding_boxes", "images_box", "localization", "_gt", "Annotation", ".png")
        return [path for path in opened if any(word in path for word in words)]

    monkeypatch.setattr(builtins, "open", watched)
    monkeypatch.setattr(io, "open", watched)
    found = read_annotations(root, purpose="training")
    assert found.split == known.train
    assert len(found.items) == (12 if name == "aircraft" else 6)
    assert not found.has_boxes
    assert not found.has_masks
    assert all(item.boxes is None and item.mask is None for item in found.items)
    assert located() == []
    read_annotations(root)
    if name not in {"open_images", "cars"}:  # masks are read later; one list holds all of a car
        assert located() != []  # so it would have been seen


@pytest.mark.parametrize("name", SETS)
def test_validation_gets_labels_too(name: str, published: dict[str, Path]) -> None:
    found = read_annotations(published[name], purpose="validation")
    assert found.split == SETS[name].test
    assert all(item.boxes is None and item.mask is None for item in found.items)


@pytest.mark.parametrize("name", SETS)
def test_images_of_a_set_are_those_to_train_on(name: str, published: dict[str, Path]) -> None:
    images = published_images(published[name])
    assert images is not None
    assert all(path.suffix.lower() in {".jpg", ".jpeg"} for path in images)
    assert images == [i.path for i in read_annotations(published[name], purpose="training").items]


def test_an_unknown_split_names_those_there_are(published: dict[str, Path]) -> None:
    for purpose, example in (("training", "train"), ("evaluation", "test")):
        with pytest.raises(InputError, match="has no split 'val'; it has train, test") as caught:
            read_annotations(published["cub"], split="val", purpose=purpose)
        assert caught.value.hint == f"For example: --split {example}"


def test_labels_follow_the_classes_of_an_engine(published: dict[str, Path]) -> None:
    classes = ("003.c", "001.a", "002.b", "other")
    found = read_annotations(published["cub"], classes=classes)
    assert found.classes == classes
    assert {item.class_name: item.label for item in found.items} == {
        "001.a": 1,
        "002.b": 2,
        "003.c": 0,
    }
    with pytest.raises(InputError, match=r"class 001\.a of CUB-200-2011 .* not one of the 2"):
        read_annotations(published["cub"], classes=("003.c", "002.b"))


def test_numbers_without_names_are_trusted(published: dict[str, Path], tmp_path: Path) -> None:
    """wsolevaluation numbers ImageNet's classes; all of its test images lie in one folder."""
    root, images = tmp_path / "metadata/ILSVRC/test", tmp_path / "dataset/ILSVRC/val"
    root.mkdir(parents=True)
    images.mkdir(parents=True)
    for n in range(3):
        (images / f"{n}.JPEG").touch()
    ids = [f"val/{n}.JPEG" for n in range(3)]
    (root / "image_ids.txt").write_text("\n".join(ids))
    (root / "class_labels.txt").write_text("\n".join(f"{one},{n}" for n, one in enumerate(ids)))
    (root / "localization.txt").write_text("\n".join(f"{one},1,2,3,4" for one in ids))
    found = read_annotations(root.parent, classes=("tench", "goldfish", "shark"))
    assert [item.class_name for item in found.items] == ["tench", "goldfish", "shark"]
    assert read_annotations(root.parent).classes == ("0", "1", "2")
    with pytest.raises(InputError, match="has a label 2, but there are 2 classes"):
        read_annotations(root.parent, classes=("tench", "goldfish"))


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_split_without_images_of_a_class(absent: int, tmp_path: Path) -> None:
    """As in small sets of one's own; the other splits know the class."""
    root = SETS["wsoleval_masks"].make(tmp_path)
    ids = root / "test/image_ids.txt"
    kept = [line for line in ids.read_text().split() if f"0{'abc'[absent]}_x" not in line]
    ids.write_text("\n".join(kept))
    names = SETS["wsoleval_masks"].classes
    for classes in (None, names):
        found = read_annotations(root, classes=classes)
        assert len(found.items) == 4
        assert {(item.label, item.class_name) for item in found.items} == {
            (label, name) for label, name in enumerate(names) if label != absent
        }
    for split in ("train", "val"):
        (root / split / "class_labels.txt").unlink()
    labels = root / "test/class_labels.txt"
    labels.write_text("\n".join(line for line in labels.read_text().split() if line[:-2] in kept))
    if absent == 2:  # then there are two classes
        assert read_annotations(root).classes == names[:2]
        return
    with pytest.raises(InputError, match="without a gap over all splits"):
        read_annotations(root)


def test_folders_called_by_their_label_are_numbers(tmp_path: Path) -> None:
    """Those of ImageNetV2, which wsolevaluation chooses thresholds on."""
    root, images = tmp_path / "metadata/ILSVRC/val", tmp_path / "dataset/ILSVRC"
    root.mkdir(parents=True)
    ids = [f"val2/{n}/0.jpeg" for n in range(3)]
    for one in ids:
        (images / one).parent.mkdir(parents=True)
        (images / one).touch()
    (root / "image_ids.txt").write_text("\n".join(ids))
    (root / "class_labels.txt").write_text("\n".join(f"{one},{n}" for n, one in enumerate(ids)))
    (root / "localization.txt").write_text("\n".join(f"{one},1,2,3,4" for one in ids))
    found = read_annotations(root.parent, classes=("tench", "goldfish", "shark"), split="val")
    assert [item.class_name for item in found.items] == ["tench", "goldfish", "shark"]


def test_validation_images_of_ilsvrc_sorted_by_class(tmp_path: Path) -> None:
    """As a script that many use leaves them; the annotations lie as they were."""
    root = SETS["ilsvrc"].make(tmp_path)
    before = read_annotations(root).items
    for item in before:
        folder = item.path.parent / item.class_name
        folder.mkdir(exist_ok=True)
        item.path.rename(folder / item.path.name)
    found = sorted(read_annotations(root).items, key=lambda item: item.path.name)
    assert [item.path.parent.name for item in found] == [item.class_name for item in before]
    for old, new in zip(before, found, strict=True):
        assert (new.path.name, new.label) == (old.path.name, old.label)
        np.testing.assert_array_equal(new.boxes, old.boxes)


@pytest.mark.parametrize("name", ["ilsvrc", "ilsvrc_lists", "open_images"])
def test_hidden_files_and_folders_are_not_the_sets(name: str, tmp_path: Path) -> None:
    """Archives made on a Mac hold ._image.jpg; notebooks leave .ipynb_checkpoints."""
    root = SETS[name].make(tmp_path)
    before = [read_annotations(root, purpose=p) for p in ("training", "evaluation")]
    for item in (*before[0].items, *before[1].items):
        item.path.with_name(f"._{item.path.name}").touch()
        (item.path.parents[1] / ".ipynb_checkpoints").mkdir(exist_ok=True)
    for old, purpose in zip(before, ("training", "evaluation"), strict=True):
        new = read_annotations(root, purpose=purpose)
        assert new.classes == old.classes
        assert [item.path for item in new.items] == [item.path for item in old.items]


def test_a_class_without_images_is_told(tmp_path: Path) -> None:
    """As in a set that was unpacked in part."""
    root = SETS["ilsvrc"].make(tmp_path)
    (root / "Data/CLS-LOC/train/n04000004").mkdir()
    (warning,) = read_annotations(root, purpose="training").warnings
    assert warning == "1 of the 4 classes of ILSVRC CLS-LOC have no image, such as n04000004."


def test_openimages_is_known_by_any_of_its_classes(tmp_path: Path) -> None:
    """Otherwise its masks would be taken for images."""
    root = SETS["open_images"].make(tmp_path)
    for file in root.glob("*/0a_x/*_ignore.png"):
        file.unlink()
    with pytest.raises(InputError, match=r"file of ignored pixels is expected at .*/0a_x/"):
        read_annotations(root)


def test_training_images_of_ilsvrc_without_boxes_are_left_out_and_told(
    published: dict[str, Path],
) -> None:
    found = read_annotations(published["ilsvrc"], split="train")
    assert len(found.items) == 4
    assert found.notes == ("2 training images have no boxes and are left out.",)


def test_a_box_that_reaches_past_its_image_ends_with_it(tmp_path: Path) -> None:
    """Fourteen of CUB-200-2011 do."""
    root = SETS["cub"].make(tmp_path)
    boxes = root / "bounding_boxes.txt"
    boxes.write_text(boxes.read_text().replace("7 8.0 8.0 32.0 32.0", "7 8.0 8.0 132.0 32.0"))
    (item, *_) = read_annotations(root).items
    assert item.contradiction(SIZE) is None
    assert item.boxes_in(SIZE).tolist() == [[8, 8, SIZE[1], 40]]
    assert item.boxes is not None
    assert item.boxes.tolist() == [[8, 8, 140, 40]]
    for shape, holds in (
        ((64, 74), True),
        ((64, 73), False),
        ((24, 140), True),
        ((23, 140), False),
    ):
        assert (item.contradiction(shape) is None) == holds  # half of the box, or less
    resized = item.contradiction((32, 48))
    assert resized == f"{item.path} is 48 × 32, but a box reaches to (140.0, 40.0)."


def test_matlab_lists_name_the_extra(
    published: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingExtraError, match=r"Reading test_list\.mat needs") as caught:
        read_annotations(published["dogs"])
    assert "bas-edge[datasets]" in str(caught.value.hint)


def test_a_split_of_class_folders(published: dict[str, Path], tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / f"{split}.png").touch()
    found = read_annotations(tmp_path, split="val")
    assert [item.path.name for item in found.items] == ["val.png"] * 2
    assert (found.classes, found.split) == (("a", "b"), "val")
    splits = "holds train, val, which are splits and not classes"
    with pytest.raises(InputError, match=splits):
        read_annotations(tmp_path)
    (tmp_path / "train/.DS_Store").touch()  # what a file manager leaves, or an author
    (tmp_path / "val/README.txt").touch()
    (tmp_path / "annotations").mkdir()
    with pytest.raises(InputError, match=splits) as caught:
        read_annotations(tmp_path)
    assert caught.value.hint == "Name one of them: --split train"
    (tmp_path / "annotations").rmdir()
    with pytest.raises(InputError, match=splits):
        read_annotations(tmp_path)
    (tmp_path / "val2").mkdir()  # one of flat files among them
    (tmp_path / "val2/0.png").touch()
    with pytest.raises(InputError, match="holds train, val, val2, which are splits"):
        read_annotations(tmp_path)
    with pytest.raises(InputError, match="The split 'test' is expected at"):
        read_annotations(tmp_path, split="test")
    csv = tmp_path / "labels.csv"
    csv.write_text("path,label,class_name\ntrain/a/train.png,0,a\n")
    with pytest.raises(InputError, match="is a file, which has no split 'val'"):
        read_annotations(csv, split="val")


def test_classes_named_like_splits_stay_classes(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").touch()
    assert read_annotations(tmp_path).classes == ("test", "train")


def test_dtype_of_boxes(published: dict[str, Path]) -> None:
    for name in ("cub", "ilsvrc", "aircraft", "cars"):
        boxes = read_annotations(published[name]).items[0].boxes
        assert boxes is not None
        assert boxes.dtype == np.float64
