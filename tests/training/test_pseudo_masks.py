"""The masks that come of seeds: what is written, resumed, chosen and refused."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.filters import threshold_otsu

from bas_edge.errors import InputError
from bas_edge.images import read_image
from bas_edge.segmentation import read_image_set, write_mask
from bas_edge_training import load_checkpoint
from bas_edge_training.models import BasModel
from bas_edge_training.results import TrainingInterrupted
from bas_edge_training.segmentation.mask_maker import MaskMaker
from bas_edge_training.segmentation.mask_report import MasksReport
from bas_edge_training.segmentation.pseudo_masks import make_masks
from bas_edge_training.segmentation.random_walk import WalkOptions, spread
from bas_edge_training.segmentation.seeds import SeedOptions, seed_maps

CPU = torch.device("cpu")


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Three images with squares, true masks, and a third without any label."""
    root = tmp_path / "set"
    root.mkdir()
    lines = ["path,labels,mask_path"]
    for number, label in enumerate((0, 1, None)):
        pixels = np.full((40, 48, 3), 60, np.uint8)
        mask = np.zeros((40, 48), np.uint8)
        if label is not None:
            pixels[8:30, 10:34, label] = 250
            mask[8:30, 10:34] = label + 1
        Image.fromarray(pixels).save(root / f"{number}.png")
        write_mask(root / f"{number}_mask.png", mask)
        name = "" if label is None else f"class {label}"
        lines.append(f"{number}.png,{name},{number}_mask.png")
    (root / "index.csv").write_text("\n".join(lines) + "\n")
    values = {str(number + 1): f"class {number}" for number in range(2)}
    (root / "classes.json").write_text(json.dumps({"mask_values": values}))
    return root


@pytest.fixture
def run_folder(make_model: Callable[..., BasModel], make_checkpoint: Callable[..., Path]) -> Path:
    return make_checkpoint(make_model("edge", classes=2))


def test_masks_are_written_as_a_set_and_scored(
    colours: Path, run_folder: Path, tmp_path: Path
) -> None:
    walk = WalkOptions(steps=5)
    report = make_masks(
        run_folder, colours, tmp_path / "masks", size=64, scales=(1.0,), threshold=0.6, walk=walk
    )
    assert (report.images, report.background) == (3, 1)
    found = read_image_set(tmp_path / "masks", "train")
    assert [image.labels for image in found.images] == [(0,), (1,), ()]
    first, _, nothing = found.images
    assert first.mask is not None
    assert nothing.mask is not None
    assert not nothing.mask.read().any()
    options = SeedOptions(size=64, scales=(1.0,))
    model = load_checkpoint(run_folder).model
    pixels = read_image(first.path)
    maps = spread(pixels, seed_maps(model, pixels, (0,), options, CPU), walk)
    np.testing.assert_array_equal(first.mask.read(), (maps[0] > np.float32(0.6)).astype(np.uint8))
    assert report.refined is not None
    assert report.seeds is not None
    assert report.refined.best.miou >= report.refined.given.miou - 1e-9
    assert dict(report.refined.curve)[0.6] == pytest.approx(report.refined.given.miou)
    assert json.loads(json.dumps(report.to_dict()))["images"] == 3


def test_without_true_masks_there_are_no_scores(
    colours: Path, run_folder: Path, tmp_path: Path
) -> None:
    text = (colours / "index.csv").read_text().splitlines()
    bare = "\n".join(line.rpartition(",")[0] for line in text)
    (colours / "index.csv").write_text(bare + "\n")
    (colours / "0.png").write_bytes(b"no image")
    report = make_masks(run_folder, colours, tmp_path / "masks", size=64, scales=(1.0,))
    assert (report.seeds, report.refined, report.images) == (None, None, 2)
    assert list(report.skipped) == [str(colours / "0.png")]


class StopError(Exception):
    """Raised by a test in the middle."""


def stop_after(count: int, of: int) -> Callable[[int, int], None]:
    def stop(done: int, total: int) -> None:
        assert total == of
        if done == count:
            raise StopError

    return stop


def make(run_folder: Path, data: Path, output: Path, **options: Any) -> MasksReport:
    return make_masks(run_folder, data, output, size=64, scales=(1.0,), **options)


def test_an_interrupted_call_goes_on_with_what_it_has(
    colours: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = make(run_folder, colours, tmp_path / "whole"), tmp_path / "parts"

    with pytest.raises(StopError):
        make(run_folder, colours, parts, progress=stop_after(3, of=5))  # two for the threshold
    with pytest.raises(InputError, match="holds the masks of an interrupted call"):
        make(run_folder, colours, parts)
    second = (colours / "1.png").read_bytes()
    (colours / "1.png").write_bytes(b"no image")
    with pytest.raises(StopError):
        make(run_folder, colours, parts, resume=True, progress=stop_after(2, of=3))
    (colours / "1.png").write_bytes(second)
    with pytest.raises(InputError, match=r"begun with the threshold label-free, not 0\.4"):
        make(run_folder, colours, parts, threshold=0.4, resume=True)
    with (parts / "unfinished_0.jsonl").open("a") as journal:
        journal.write('{"at":1,"se')  # killed while it wrote
    made: list[int] = []
    plain = MaskMaker.record
    monkeypatch.setattr(MaskMaker, "record", lambda self, at: (made.append(at), plain(self, at))[1])
    monkeypatch.setattr(MaskMaker, "natural_cut", None)  # the threshold is known
    resumed = make(run_folder, colours, parts, resume=True)
    assert made == [1, 2]
    same = {"folder": "", "next_command": ""}
    assert {**resumed.to_dict(), **same} == {**whole.to_dict(), **same}
    for name in ("0.png", "1.png", "2.png"):
        mine, theirs = (folder / "masks" / name for folder in (parts, tmp_path / "whole"))
        assert mine.read_bytes() == theirs.read_bytes()
    with pytest.raises(InputError, match="is complete; there is nothing to resume"):
        make(run_folder, colours, parts, resume=True)


def test_a_mask_is_whole_or_not_there(
    colours: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(path: Path, _mask: NDArray[np.uint8]) -> None:
        path.write_bytes(b"half a mask")
        raise StopError

    monkeypatch.setattr("bas_edge_training.segmentation.mask_maker.write_mask", write_half)
    with pytest.raises(StopError):
        make(run_folder, colours, tmp_path / "out")
    assert list((tmp_path / "out" / "masks").iterdir()) == []


def test_ctrl_c_ends_after_the_image_and_says_how_to_go_on(
    colours: Path, run_folder: Path, tmp_path: Path
) -> None:
    def press(_done: int, _total: int) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterrupted, match=r"after 1 of 3 images.* --resume"):
        make(run_folder, colours, tmp_path / "out", threshold=0.5, progress=press)
    assert make(run_folder, colours, tmp_path / "out", threshold=0.5, resume=True).images == 3


def test_progress_counts_the_images_of_the_threshold_too(
    colours: Path, run_folder: Path, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    make(run_folder, colours, tmp_path / "out", progress=lambda *at: told.append(at))
    assert told == [(done, 5) for done in range(1, 6)]


def test_ctrl_c_is_heard_while_the_threshold_is_chosen(
    colours: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def press(_self: MaskMaker, at: int) -> float:
        asked.append(at)
        signal.raise_signal(signal.SIGINT)
        return 0.5

    monkeypatch.setattr(MaskMaker, "natural_cut", press)
    with pytest.raises(TrainingInterrupted, match="before the first mask"):
        make(run_folder, colours, tmp_path / "out")
    assert asked == [0]
    assert make(run_folder, colours, tmp_path / "out", threshold=0.5, resume=True).images == 3


def test_resume_begins_where_nothing_is(colours: Path, run_folder: Path, tmp_path: Path) -> None:
    assert make(run_folder, colours, tmp_path / "out", resume=True).images == 3


def test_the_threshold_is_the_mean_of_the_cuts_of_labelled_images(
    colours: Path, run_folder: Path, tmp_path: Path
) -> None:
    """From the definition, on maps made here; images that say nothing do not count."""
    model = load_checkpoint(run_folder).model
    options, cuts = SeedOptions(size=64, scales=(1.0,)), []
    for number in (0, 1):
        pixels = read_image(colours / f"{number}.png")
        maps = spread(pixels, seed_maps(model, pixels, (number,), options, CPU), WalkOptions())
        cuts.append(threshold_otsu(maps[0], nbins=4096))
    report = make(run_folder, colours, tmp_path / "out")
    assert report.threshold == pytest.approx(np.mean(cuts), abs=0.01)
    assert report.threshold == round(report.threshold, 2)
    (colours / "1.png").write_bytes(b"no image")
    report = make(run_folder, colours, tmp_path / "one")
    assert report.threshold == pytest.approx(cuts[0], abs=0.01)
    (colours / "0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="No threshold can be chosen: of 2 images"):
        make(run_folder, colours, tmp_path / "none")


@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (90, 1), (3, 2)])
def test_images_of_a_few_pixels_have_masks(
    colours: Path, run_folder: Path, tmp_path: Path, shape: tuple[int, int]
) -> None:
    Image.new("RGB", shape[::-1], (200, 10, 10)).save(colours / "0.png")
    write_mask(colours / "0_mask.png", np.ones(shape, np.uint8))
    report = make(run_folder, colours, tmp_path / "out", threshold=0.5)
    assert not report.skipped
    mask = read_image_set(tmp_path / "out").images[0].mask
    assert mask is not None
    assert mask.read().shape == shape


def test_large_images_are_worked_on_at_1024_pixels(
    colours: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_on: list[tuple[int, ...]] = []

    def seeds(_model: object, pixels: NDArray[np.uint8], *_: object) -> NDArray[np.float32]:
        worked_on.append(pixels.shape)
        maps = np.zeros((1, *pixels.shape[:2]), np.float32)
        maps[0, :, pixels.shape[1] // 2 :] = 1
        return maps

    monkeypatch.setattr("bas_edge_training.segmentation.mask_maker.seed_maps", seeds)
    Image.new("RGB", (4096, 8), (200, 10, 10)).save(colours / "0.png")
    write_mask(colours / "0_mask.png", np.zeros((8, 4096), np.uint8))
    make(run_folder, colours, tmp_path / "out", threshold=0.5, walk=WalkOptions(steps=0))
    assert worked_on == [(2, 1024, 3), (40, 48, 3)]
    mask = read_image_set(tmp_path / "out").images[0].mask
    assert mask is not None
    expected = np.zeros((8, 4096), np.uint8)
    expected[:, 2048:] = 1
    np.testing.assert_array_equal(mask.read(), expected)


def test_what_cannot_be_used_is_refused_before_any_work(
    colours: Path, run_folder: Path, tmp_path: Path, make_model: Callable[..., BasModel]
) -> None:
    with pytest.raises(InputError, match=r"The threshold is 1\.5"):
        make_masks(run_folder, colours, tmp_path / "out", threshold=1.5)
    with pytest.raises(InputError, match=r"scales are \[0\.01\]"):
        make_masks(run_folder, colours, tmp_path / "out", scales=(0.01,))
    with pytest.raises(InputError, match="The size is 16 pixels"):
        make_masks(run_folder, colours, tmp_path / "out", size=16)
    with pytest.raises(InputError, match="exists already"):
        make_masks(run_folder, colours, colours)
    values = {"1": "class 0", "2": "other"}
    (colours / "classes.json").write_text(json.dumps({"mask_values": values}))
    text = (colours / "index.csv").read_text()
    (colours / "index.csv").write_text(text.replace("class 1", "other"))
    with pytest.raises(InputError, match=r"to 'class 1'; .* to 'other'"):
        make_masks(run_folder, colours, tmp_path / "out")
    assert not (tmp_path / "out").exists()
