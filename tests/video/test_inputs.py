"""What names on the command line turn into, and images that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bas_edge.errors import InputError
from bas_edge.localizer import Localizer
from bas_edge.video.inputs import find_inputs
from bas_edge.video.stills import localize_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "clip.mp4", "notes.txt", "deep [1]/c.jpeg", "deep [1]/d.mkv"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    return tmp_path


def names(files: tuple[Path, ...], folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files]


def test_a_folder_with_its_subfolders(folder: Path) -> None:
    found = find_inputs([folder])
    assert names(found.images, folder) == ["a.PNG", "b.jpg", "deep [1]/c.jpeg"]
    assert names(found.videos, folder) == ["clip.mp4", "deep [1]/d.mkv"]


def test_copies_of_an_earlier_run_are_no_inputs(folder: Path) -> None:
    for name in ("b-2.jpg", "clip-2.mp4", "deep [1]/d.partial.mp4"):
        (folder / name).touch()
    lines = ('{"annotated": "elsewhere/b-2.jpg"}', "torn", '{"annotated": "clip-2.mp4"}', "{}")
    (folder / "results.jsonl").write_text("\n".join(lines))
    (folder / "deep [1]" / "results.jsonl").write_text('{"annotated": "d.mp4"}\n')
    found = find_inputs([folder])
    assert names(found.images, folder) == ["a.PNG", "b.jpg", "deep [1]/c.jpeg"]
    assert names(found.videos, folder) == ["clip.mp4", "deep [1]/d.mkv"]
    assert find_inputs([f"{folder}/*.jpg"]).images == (folder / "b.jpg",)
    assert find_inputs([folder / "clip-2.mp4"]).videos == (folder / "clip-2.mp4",)
    with pytest.raises(InputError, match="No images or videos"):
        find_inputs([f"{folder}/b-*.jpg"])


def test_a_folder_whose_name_looks_like_a_pattern(folder: Path) -> None:
    found = find_inputs([folder / "deep [1]"])
    assert names(found.images, folder) == ["deep [1]/c.jpeg"]
    assert names(found.videos, folder) == ["deep [1]/d.mkv"]


def test_globs(folder: Path) -> None:
    assert names(find_inputs([f"{folder}/*"]).images, folder) == ["a.PNG", "b.jpg"]
    assert names(find_inputs([f"{folder}/*.m*"]).videos, folder) == ["clip.mp4"]


def test_a_file_named_outright_is_a_video_unless_it_looks_like_an_image(folder: Path) -> None:
    found = find_inputs([folder / "notes.txt", folder / "b.jpg"])
    assert names(found.videos, folder) == ["notes.txt"]
    assert names(found.images, folder) == ["b.jpg"]


def test_addresses_and_pipelines_are_live_unless_a_file_is_called_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    live = ("rtsp://camera/live", "0", "videotestsrc ! " + "queue ! " * 200 + "appsink")
    assert find_inputs([*live, "clip.mp4"]).live == live
    (folder / "0").mkdir()
    (folder / "clip.mp4").rename("0/wow ! cat.mp4")
    assert names(find_inputs(["0"]).videos, Path()) == ["0/wow ! cat.mp4"]
    assert names(find_inputs(["0/wow ! cat.mp4"]).videos, Path()) == ["0/wow ! cat.mp4"]


def test_a_file_named_twice_counts_once(folder: Path) -> None:
    assert len(find_inputs([folder / "b.jpg", folder]).images) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.jpg", "No such file or folder: "),
        ("*.jpeg", "No images or videos in "),
        ("empty", "No images or videos in "),
    ],
)
def test_names_that_lead_to_nothing(folder: Path, name: str, message: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        find_inputs([folder / "b.jpg", folder / name])


def test_an_empty_name_is_not_the_current_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match="The source is empty"):
        find_inputs([""])


def test_a_corrupt_image_does_not_stop_the_others(
    tiny_onnx: Callable[..., Path], tmp_path: Path
) -> None:
    files = [tmp_path / f"{name}.jpg" for name in "abc"]
    for file in files:
        Image.fromarray(np.full((40, 60, 3), (250, 0, 0), np.uint8)).save(file)
    files[1].write_bytes(files[1].read_bytes()[:200])
    with Localizer(tiny_onnx(tmp_path / "tiny.onnx"), threads=1) as localizer:
        first, second, third = localize_images(localizer, files)
    assert first.to_dict()["class_name"] == third.to_dict()["class_name"] == "a"
    assert second.finding is None
    assert list(second.to_dict()) == ["source", "error"]
    assert str(files[1]) in second.to_dict()["error"]
