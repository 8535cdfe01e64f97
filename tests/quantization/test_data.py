"""The images that a bound is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from colour_network import colour_manifest, write_pictures
from published_sets import SETS

from bas_edge.errors import InputError
from bas_edge.quantization.data import Data, prepared
from bas_edge.quantization.job import PrecisionJob


@contextmanager
def ready(calibration: Path, notes: list[str] | None = None, **job: Any) -> Iterator[Data]:
    note = [].append if notes is None else notes.append
    with prepared(PrecisionJob(calibration, note=note, **job), colour_manifest()) as data:
        yield data


def test_boxes_labels_and_background_of_a_csv(pictures: Path) -> None:
    index, background = pictures / "val" / "index.csv", pictures / "val" / "background"
    with ready(pictures / "calib", evaluation=index, background=background) as data:
        yardstick = data.yardstick
        assert yardstick.truth is not None
        assert yardstick.labels is not None
        assert (len(yardstick.frames), len(yardstick.labels), len(data.calibration)) == (
            45,
            45,
            120,
        )
        assert yardstick.background is not None
        assert len(yardstick.background) == 12


def test_background_in_a_bare_folder_is_no_object(pictures: Path) -> None:
    with ready(pictures / "calib", evaluation=pictures / "val") as data:
        assert data.yardstick.truth is None
        assert data.yardstick.background is not None
        assert (len(data.yardstick.frames), len(data.yardstick.background)) == (45, 12)


def test_a_fifth_is_kept_apart_and_its_background_is_no_object(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "mine", 120, seed=1, background=30)
    with ready(folder) as data:
        yardstick = data.yardstick
        assert yardstick.background is not None
        assert len(yardstick.frames) + len(yardstick.background) == 30
        assert len(yardstick.background) == 6
        apart = set(yardstick.names)
        assert not apart & {str(item) for item in data.calibration.items}
        assert len(data.calibration) == 120


def test_of_a_video_the_last_fifth_is_kept_apart(clips: ModuleType, tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "clip.mp4", clips.noise_frames(125))
    with ready(path, limit=None) as data:
        yardstick = data.yardstick
        assert yardstick.from_video
        assert yardstick.background is None
        assert (len(data.calibration), len(yardstick.frames)) == (100, 25)
        assert not set(yardstick.names) & {str(item) for item in data.calibration.items}


def test_a_published_set_calibrates_on_one_part_and_is_measured_on_the_other(
    graphs: ModuleType, tmp_path: Path
) -> None:
    """Its masks are no pictures, and a box past the frame ends with it."""
    known = SETS["cub"]
    root = known.make(tmp_path)
    boxes = root / "bounding_boxes.txt"
    boxes.write_text(boxes.read_text().replace("\n7 8.0 8.0 32.0 32.0", "\n7 8.0 8.0 132.0 32.0"))
    job = PrecisionJob(root, evaluation=root, force=True, note=[].append)
    with prepared(job, graphs.tiny_manifest(classes=known.classes)) as data:
        names = {Path(item.path).stem for item in data.calibration.items}
        assert names == {f"train_{n}" for n in range(6)}
        assert {Path(name).stem for name in data.yardstick.names} == {f"test_{n}" for n in range(6)}
        assert data.yardstick.truth is not None
        assert data.yardstick.truth.boxes[0].tolist() == [[8, 8, 96, 40]]


def test_few_images_to_measure_on_are_refused(tmp_path: Path, pictures: Path) -> None:
    few = write_pictures(tmp_path / "few", 3, seed=5)
    with (
        pytest.raises(InputError, match="measured on 3 images; at least 20 are needed"),
        ready(pictures / "calib", evaluation=few),
    ):
        pass
    notes: list[str] = []
    with ready(pictures / "calib", notes, evaluation=few, force=True) as data:
        assert len(data.yardstick.frames) == 3
    assert notes == ["The bound would be measured on 3 images, fewer than 20: it says little."]


@pytest.mark.parametrize(("damaged", "refused"), [(2, False), (10, True)])
def test_damaged_images_to_measure_on(
    tmp_path: Path, pictures: Path, damaged: int, refused: bool
) -> None:
    folder = write_pictures(tmp_path / "val", 40, seed=5)
    for path in sorted(folder.glob("*.png"))[:damaged]:
        path.write_bytes(b"no image")
    notes: list[str] = []
    if refused:
        with (
            pytest.raises(InputError, match="10 of 40 evaluation images cannot be used"),
            ready(pictures / "calib", evaluation=folder / "index.csv"),
        ):
            pass
        return
    with ready(pictures / "calib", notes, evaluation=folder / "index.csv") as data:
        assert len(data.yardstick.frames) == 38
        assert data.yardstick.labels is not None
        assert data.yardstick.labels[0] == 2  # of the third picture
    assert notes[0].startswith("2 of 40 evaluation images cannot be used; the first:")
