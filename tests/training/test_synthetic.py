from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bas_edge.annotations import read_annotations
from bas_edge.errors import InputError
from bas_edge.images import read_image
from bas_edge_training.synthetic import SyntheticDataset, generate_dataset
from bas_edge_training.synthetic_scenes import (
    SPECIES,
    Pose,
    Species,
    draw_creature,
    random_pose,
)

SIZE = (96, 128)  # H, W


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SyntheticDataset:
    folder = tmp_path_factory.mktemp("synthetic") / "data"
    return generate_dataset(
        folder, classes=3, images_per_class=4, val_per_class=6, backgrounds=3, size=SIZE
    )


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def val_rows(dataset: SyntheticDataset) -> list[dict[str, str]]:
    with dataset.val_csv.open(newline="") as file:
        return list(csv.DictReader(file))


def test_counts_and_sizes(dataset: SyntheticDataset) -> None:
    assert dataset.images == 3 * (4 + 6) + 2 * 3
    pictures = list(dataset.train.parent.rglob("*.jpg"))
    assert len(pictures) == dataset.images
    assert {read_image(path).shape for path in pictures} == {(96, 128, 3)}


def test_training_and_validation_read_back_with_the_same_classes(dataset: SyntheticDataset) -> None:
    train, val = read_annotations(dataset.train), read_annotations(dataset.val_csv)
    assert train.classes == val.classes == dataset.classes
    assert not train.has_boxes
    assert val.has_boxes
    assert len(train.background) == 3
    assert sorted(item.label for item in val.items) == [0] * 6 + [1] * 6 + [2] * 6


def test_boxes_lie_inside_the_picture_and_span_a_quarter_to_most_of_it(
    dataset: SyntheticDataset,
) -> None:
    for row in val_rows(dataset):
        x0, y0, x1, y1 = (int(row[name]) for name in ("x0", "y0", "x1", "y1"))
        assert 0 <= x0 < x1 <= 128
        assert 0 <= y0 < y1 <= 96
        assert 0.25 * 96 <= max(x1 - x0, y1 - y0) <= 0.95 * 96


@pytest.mark.parametrize("species", SPECIES, ids=lambda kind: kind.name)
def test_the_box_is_exactly_what_the_creature_covers(species: Species) -> None:
    frame = Image.new("RGB", (160, 120), (0, 255, 0))
    pose = Pose(x=80.5, y=60.5, length=70.0, angle=0.0)
    x0, y0, x1, y1 = draw_creature(frame, species, pose, np.random.default_rng(3))
    assert (x1 - x0, y1 - y0) == pytest.approx((70, 70 * species.slimness), abs=2)
    assert (x0 + x1) / 2 == pytest.approx(80.5, abs=1)
    untouched = (np.asarray(frame) == (0, 255, 0)).all(axis=2)
    shadow = 10  # pixels that the soft shadow may reach
    assert untouched[: y0 - shadow].all()
    assert untouched[y1 + shadow :].all()
    assert not untouched[(y0 + y1) // 2, x0 + 2 : x1 - 2].any()


def test_poses_keep_the_creature_inside_the_frame() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        pose = random_pose(rng, SIZE)
        half = pose.length / 2
        assert half <= pose.x <= 128 - half
        assert half <= pose.y <= 96 - half


def test_same_seed_same_bytes_and_another_seed_other_pixels(tmp_path: Path) -> None:
    small = {
        "classes": 2,
        "images_per_class": 1,
        "val_per_class": 1,
        "backgrounds": 1,
        "size": SIZE,
    }
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    generate_dataset(one, seed=5, **small)
    generate_dataset(two, seed=5, **small)
    generate_dataset(other, seed=6, **small)
    assert digest(one) == digest(two) != digest(other)


def test_training_validation_and_background_pictures_all_differ(dataset: SyntheticDataset) -> None:
    pictures = list(dataset.train.parent.rglob("*.jpg"))
    assert len({path.read_bytes() for path in pictures}) == len(pictures)


def test_progress_counts_up_to_all_pictures(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    generate_dataset(
        tmp_path / "d", classes=2, images_per_class=1, val_per_class=1, backgrounds=1, size=SIZE,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 1}, "classes must be between 2 and 6, got 1."),
        ({"classes": 7}, "classes must be between 2 and 6, got 7."),
        ({"images_per_class": 0}, "at least one training and one validation image, got 0 and 20."),
        ({"size": (63, 64)}, r"at least 64 pixels on each side, got \(63, 64\)."),
    ],
)
def test_bad_numbers_are_refused(tmp_path: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate_dataset(tmp_path / "data", **arguments)
    assert not (tmp_path / "data").exists()


def test_a_folder_with_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="already has content"):
        generate_dataset(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
