from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from published_sets import SETS

from bas_edge.errors import InputError
from bas_edge_training.data import read_training_data, split_indices


def write_csv(folder: Path, columns: str, row: str) -> Path:
    path = folder / "labels.csv"
    rows = [
        row.format(path=file.relative_to(folder).as_posix(), label="abc".index(file.parent.name[0]),
                   name=file.parent.name)
        for file in sorted(folder.glob("*/*.png"))
    ]  # fmt: skip
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path


def test_folder_and_csv_give_the_same_images(image_folder: Path) -> None:
    path = write_csv(image_folder, "path,label,class_name", "{path},{label},{name}")
    folder, table = read_training_data(image_folder), read_training_data(path)
    assert folder.classes == table.classes == ("ant", "bee", "cat")
    assert folder.labels == table.labels == (0,) * 4 + (1,) * 4 + (2,) * 4
    assert folder.fingerprint == table.fingerprint


def test_csv_with_boxes_is_refused_and_the_hint_cures_it(image_folder: Path) -> None:
    boxed = write_csv(
        image_folder, "path,x0,y0,x1,y1,label,class_name", "{path},1,1,9,9,{label},{name}"
    ).rename(image_folder / "boxed.csv")
    with pytest.raises(InputError, match="boxes in its columns x0, y0, x1, y1") as caught:
        read_training_data(boxed)
    command = str(caught.value.hint).partition(": ")[2]
    subprocess.run(command, shell=True, check=True)
    assert len(read_training_data(image_folder / "labels.csv").paths) == 12


def test_box_columns_without_boxes_are_only_labels(image_folder: Path) -> None:
    path = write_csv(image_folder, "path,label,class_name,x0,y0,x1,y1", "{path},{label},{name},,,,")
    assert len(read_training_data(path).paths) == 12


def test_boxes_of_a_validation_set_are_ignored(image_folder: Path) -> None:
    boxed = write_csv(
        image_folder, "path,label,class_name,x0,y0,x1,y1", "{path},{label},{name},1,1,9,9"
    )
    data = read_training_data(image_folder, validation=boxed, validation_fraction=0.5)
    assert len(data.paths) == len(data.validation_paths) == 12


def test_validation_set_with_other_classes(image_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(image_folder / "ant", other / "dog")
    with pytest.raises(InputError, match=r"dog'? is not one of the 3 classes"):
        read_training_data(image_folder, validation=other)


def test_held_out_images_come_from_every_class_and_are_not_trained_on(image_folder: Path) -> None:
    data = read_training_data(image_folder, validation_fraction=0.25, seed=3)
    assert Counter(data.validation_labels) == {0: 1, 1: 1, 2: 1}
    assert Counter(data.labels) == {0: 3, 1: 3, 2: 3}
    assert not set(data.paths) & set(data.validation_paths)
    assert data == read_training_data(image_folder, validation_fraction=0.25, seed=3)


def test_split_never_takes_the_last_image_of_a_class() -> None:
    training, held = split_indices([0, 1, 1, 2, 2, 2], 0.5, seed=0)
    assert sorted(training + held) == list(range(6))
    labels = [0, 1, 1, 2, 2, 2]
    assert {labels[i] for i in training} == {0, 1, 2}
    assert Counter(labels[i] for i in held) == {1: 1, 2: 2}


def test_class_with_one_image_is_a_warning(image_folder: Path) -> None:
    for file in sorted((image_folder / "bee").iterdir())[1:]:
        file.unlink()
    data = read_training_data(image_folder, validation_fraction=0.5)
    assert [w for w in data.warnings if "'bee' has only one image" in w]
    assert 1 in data.labels


def test_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "ant").mkdir()
    with pytest.raises(InputError, match="No images in"):
        read_training_data(tmp_path)


def test_background_from_inside_and_outside(image_folder: Path, background_folder: Path) -> None:
    shutil.copytree(background_folder, image_folder / "background")
    data = read_training_data(image_folder, background=background_folder)
    assert data.classes == ("ant", "bee", "cat")
    assert len(data.background) == 6


def test_fingerprint_follows_the_images_but_not_their_place(image_folder: Path) -> None:
    before = read_training_data(image_folder).fingerprint
    moved = image_folder.rename(image_folder.with_name("moved"))
    assert read_training_data(moved).fingerprint == before
    (moved / "ant" / "0.png").rename(moved / "bee" / "9.png")
    assert read_training_data(moved).fingerprint != before


def test_fingerprint_is_of_the_files_that_links_lead_to(image_folder: Path) -> None:
    (image_folder / ".store").mkdir()
    link = image_folder / "ant" / "0.png"
    link.symlink_to(link.rename(image_folder / ".store" / "first.png"))
    data = read_training_data(image_folder)
    names = [path.relative_to(image_folder).as_posix() for path in data.paths]
    assert names[0] == "ant/0.png"
    lines = [f"train {name} {label}" for name, label in zip(names, data.labels, strict=True)]
    lines[0] = "train .store/first.png 0"
    assert data.fingerprint == hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_a_split_is_the_folder_of_that_name(image_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "both"
    shutil.copytree(image_folder, root / "train")
    shutil.copytree(image_folder, root / "val")
    data = read_training_data(root, split="train", validation=root, validation_split="val")
    assert data.source == root / "train"
    assert {path.parts[-3] for path in data.paths} == {"train"}
    assert {path.parts[-3] for path in data.validation_paths} == {"val"}
    whole = read_training_data(root / "train", validation=root / "val")
    assert whole.paths == data.paths
    with pytest.raises(InputError, match="a split 'val' to validate on, but no set that has it"):
        read_training_data(root, split="train", validation_split="val")


def test_images_that_are_links_keep_their_fingerprint(image_folder: Path, tmp_path: Path) -> None:
    """Linked folders are seen through, and an image linked from elsewhere is told by its name."""
    before = read_training_data(image_folder).fingerprint
    linked = tmp_path / "linked"
    linked.symlink_to(image_folder, target_is_directory=True)
    assert read_training_data(linked).fingerprint == before
    away = tmp_path / "away.png"
    (image_folder / "ant" / "0.png").rename(away)
    (image_folder / "ant" / "0.png").symlink_to(away)
    named = read_training_data(image_folder).fingerprint
    assert named != before
    assert read_training_data(linked).fingerprint == named


@pytest.mark.parametrize("name", SETS)
def test_published_sets_train_on_labels_alone(name: str, tmp_path: Path) -> None:
    root = SETS[name].make(tmp_path)
    data = read_training_data(root, validation=root)
    assert data.classes == SETS[name].classes
    assert len(data.paths) == (12 if name == "aircraft" else 6)
    assert len(data.validation_paths) == 6
    assert not set(data.paths) & set(data.validation_paths)
