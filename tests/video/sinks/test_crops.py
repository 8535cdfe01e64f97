"""Cut-outs: what the box encloses, not too often, and not too many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from full_disk import full_disk
from PIL import Image
from stream_results import descriptors, result

from bas_edge.errors import BasEdgeError, InputError
from bas_edge.video import Crops

RNG = np.random.default_rng(0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".kept")


def test_the_cut_is_the_box_with_its_margin(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (48, 64, 3), np.uint8)
    sink = Crops(tmp_path / "{stream}-{frame:08d}-{class}.png", margin=0.25)
    sink.write(result(7, pixels=pixels, box=(10.0, 20.0, 30.0, 44.0)))
    assert names(tmp_path) == ["door-00000007-wren.png"]
    with Image.open(tmp_path / "door-00000007-wren.png") as picture:
        np.testing.assert_array_equal(np.array(picture), pixels[14:48, 5:35])  # 50 is cut to 48


def test_a_jpeg_and_a_name_that_is_no_path(tmp_path: Path) -> None:
    sink = Crops(tmp_path / "{stream}-{frame:08d}-{class}.jpg")
    sink.write(result(stream="../yard", class_name="a/b"))
    (name,) = names(tmp_path)
    assert name.startswith("_yard~")
    with Image.open(tmp_path / name) as picture:
        assert (picture.format, picture.size) == ("JPEG", (38, 28))


@pytest.mark.parametrize(
    "box", [(0.0, 0.0, 0.0, 0.0), (64.0, 48.0, 64.0, 48.0), (0.0, 0.0, 64.0, 48.0)]
)
def test_boxes_at_the_edge_of_the_frame(
    tmp_path: Path, box: tuple[float, float, float, float]
) -> None:
    sink = Crops(tmp_path / "{frame}.png")
    sink.write(result(box=box))
    with Image.open(tmp_path / "0.png") as picture:
        assert picture.size == ((1, 1) if box[0] == box[2] else (64, 48))


def test_only_sure_finds_and_not_too_often(tmp_path: Path) -> None:
    sink = Crops(tmp_path / "{stream}-{frame}.png", min_score=0.5, interval_s=1.0)
    for index in range(60):  # at 25 fps
        sink.write(result(index, score=0.4 if index < 5 else 0.6, found=index != 5))
        sink.write(result(index, stream="yard", score=0.5))
    door = [path.name for path in tmp_path.glob("door-*")]
    yard = [path.name for path in tmp_path.glob("yard-*")]
    assert sorted(door) == ["door-31.png", "door-56.png", "door-6.png"]
    assert sorted(yard) == ["yard-0.png", "yard-25.png", "yard-50.png"]
    assert sink.written == 6


def test_the_oldest_pictures_go(tmp_path: Path) -> None:
    (tmp_path / "my own photo.png").touch()
    sink = Crops(tmp_path / "{frame}.png", interval_s=0, max_files=3)
    before = descriptors()
    for index in range(10):
        sink.write(result(index))
    assert names(tmp_path) == ["7.png", "8.png", "9.png", "my own photo.png"]
    assert descriptors() == before


def test_a_restarted_stream_replaces_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        Crops(tmp_path / "{frame}.png").write(result())
    assert names(tmp_path) == ["0-2.png", "0.png"]


def test_two_sinks_of_one_name_keep_each_others_pictures(tmp_path: Path) -> None:
    sinks = [Crops(tmp_path / "{frame}.png", interval_s=0, max_files=4) for _ in range(2)]
    for index in range(5):
        for sink in sinks:
            sink.write(result(index))
    assert names(tmp_path) == ["3-2.png", "3.png", "4-2.png", "4.png"]


def test_a_full_disk_costs_pictures_and_nothing_else(tmp_path: Path) -> None:
    sink = Crops(tmp_path / "{frame}.png", interval_s=0, max_files=3)
    pixels = RNG.integers(0, 255, (48, 64, 3), np.uint8)
    sink.write(result(0, pixels=pixels))
    before = descriptors()
    with full_disk(400):
        sink.write(result(1, pixels=pixels))
        sink.write(result(2, pixels=pixels))
        assert sink.problem == f"Cannot write {tmp_path / '2.png'}: File too large."
        assert names(tmp_path) == ["0.png"]
    assert descriptors() == before
    sink.write(result(3, pixels=pixels))
    assert (sink.problem, sink.dropped, sink.written) == ("", 2, 2)
    assert names(tmp_path) == ["0.png", "3.png"]
    with pytest.raises(BasEdgeError, match="2 pictures lost, the last because"):
        sink.close(complete=True)


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("{frame}.gif", {}, "neither JPEG nor PNG"),
        ("{stream}.jpg", {}, "lacks the field 'frame'"),
        ("{frame}.jpg", {"min_score": 2}, "min_score is 2"),
        ("{frame}.jpg", {"interval_s": -1}, "interval_s is -1"),
        ("{frame}.jpg", {"interval_s": float("nan")}, "interval_s is nan"),
        ("{frame}.jpg", {"margin": float("inf")}, "margin is inf"),
        ("{frame}.jpg", {"min_score": float("nan")}, "min_score is nan"),
    ],
)
def test_arguments_that_cannot_be(
    tmp_path: Path, path: str, options: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Crops(tmp_path / path, **options)
