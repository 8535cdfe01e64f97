"""The segmenter: its head, its masks under its crops, and a run."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bas_edge.errors import InputError
from bas_edge.segmentation import read_image_set, write_mask
from bas_edge_training import load_checkpoint
from bas_edge_training.batches import BatchLoader
from bas_edge_training.image_store import ImageStore
from bas_edge_training.models import BasModel
from bas_edge_training.progress import SilentReporter
from bas_edge_training.results import TrainingInterrupted
from bas_edge_training.segmentation.masked_images import MaskedImages
from bas_edge_training.segmentation.segmenter import SegmenterModel
from bas_edge_training.segmentation.segmenter_training import (
    _MaskLoss,
    load_segmenter,
    train_segmenter,
)
from bas_edge_training.training_log import LogRow, read_log


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images, whose masks are the brightness of their red or green channel."""
    root = tmp_path_factory.mktemp("squares")
    random = np.random.default_rng(8)
    lines = ["path,labels,mask_path"]
    for number in range(8):
        label = number % 2
        pixels = random.integers(0, 60, (40, 40, 3)).astype(np.uint8)
        y, x = random.integers(2, 18, 2)
        mask = np.zeros((40, 40), np.uint8)
        pixels[y : y + 18, x : x + 18, label] = 250
        mask[y : y + 18, x : x + 18] = label + 1
        Image.fromarray(pixels).save(root / f"{number}.png")
        write_mask(root / f"{number}_mask.png", mask)
        lines.append(f"{number}.png,{'red' if label == 0 else 'green'},{number}_mask.png")
    (root / "index.csv").write_text("\n".join(lines) + "\n")
    (root / "classes.json").write_text(json.dumps({"mask_values": {"1": "red", "2": "green"}}))
    return root


@pytest.mark.parametrize("stride", [8, 16])
def test_every_cell_has_a_score_of_every_class(
    make_model: Callable[..., BasModel], stride: int
) -> None:
    model = SegmenterModel(make_model("edge", classes=5, map_stride=stride))
    with torch.no_grad():
        scores = model(torch.zeros(2, 3, 64, 64))
    assert list(scores.shape) == [2, 6, 64 // stride, 64 // stride]


def masked(folder: Path, side: int) -> MaskedImages:
    images = read_image_set(folder).images
    return MaskedImages({i.path: i for i in images}, [i.path for i in images], side, 1 << 20)


def test_masks_are_stretched_cropped_and_flipped_as_their_images_are(squares: Path) -> None:
    store = masked(squares, 40)
    loader = BatchLoader(
        store, range(8), ImageStore((), 40, 0), batch_size=3, background_per_batch=0, crop=32,
        flip=True, seed=4, workers=0,
    )  # fmt: skip
    for batch in loader.epoch(3):
        for frame in batch.frames.numpy():
            np.testing.assert_array_equal(frame[..., 3] > 0, frame[..., :2].max(axis=2) > 150)
    smaller = masked(squares, 20).pixels(1)
    whole = store.pixels(1)
    assert smaller is not None
    assert whole is not None
    np.testing.assert_array_equal(smaller[..., 3], whole[1::2, 1::2, 3])


def test_an_image_with_a_mask_of_another_size_is_skipped(squares: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(squares, folder)
    write_mask(folder / "2_mask.png", np.zeros((40, 41), np.uint8))
    (folder / "3_mask.png").write_bytes(b"no mask")
    store = masked(folder, 40)
    found = [store.pixels(number) is not None for number in range(8)]
    assert found == [True, True, False, False, True, True, True, True]
    assert "is 40 × 40, but its mask is 41 × 40." in store.skipped[str(folder / "2.png")]
    assert "3_mask.png cannot be decoded" in store.skipped[str(folder / "3.png")]


def test_pixels_that_do_not_count_move_nothing(make_model: Callable[..., BasModel]) -> None:
    model: Any = SegmenterModel(make_model("edge", classes=2, side=32))
    loss = _MaskLoss(model)
    pixels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    truth = torch.full((2, 32, 32), 255)
    losses, _ = loss.labelled(pixels, truth)
    losses.total.backward()
    assert losses.total.item() == 0
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert grads
    assert all(bool((grad == 0).all()) for grad in grads)
    truth[0, :, 16:] = 1
    half, _ = loss.labelled(pixels[:1], truth[:1])
    truth[0] = 1  # a frame of one colour: all its pixels cost about the same
    whole, _ = loss.labelled(pixels[:1], truth[:1])
    assert half.total.item() == pytest.approx(whole.total.item(), rel=0.2)


def test_parts_of_a_batch_add_up_to_it_whatever_counts_in_each(
    make_model: Callable[..., BasModel],
) -> None:
    model: Any = SegmenterModel(make_model("edge", classes=2, side=32).eval())
    loss = _MaskLoss(model)
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 3, 32, 32), generator=random)
    truth = torch.randint(0, 3, (3, 32, 32), generator=random)
    truth[0, :, 3:] = 255
    whole = loss.labelled(pixels, truth)[0].total
    first, rest = (loss.labelled(pixels[s], truth[s])[0].total for s in (slice(1), slice(1, 3)))
    torch.testing.assert_close(whole, (first + 2 * rest) / 3)
    assert abs(first.item() - rest.item()) > 1e-3  # so that another weighting would show


def test_a_run_learns_the_masks_from_the_backbone_of_a_bas_run(
    squares: Path, tiny_overrides: tuple[str, ...], tmp_path: Path,
    make_model: Callable[..., BasModel], make_checkpoint: Callable[..., Path],
) -> None:  # fmt: skip
    bas = make_model("edge", classes=2, side=32, centred=True)
    begun = make_checkpoint(bas)
    changes = [*tiny_overrides[1:], "schedule.epochs=8", "optimizer.lr=0.02"]
    changes += ["validation.fraction=0.25"]
    result = train_segmenter(squares, tmp_path / "out", start=begun, overrides=changes)
    assert result.next_command.startswith("bas-edge export ")
    rows = [row for row in read_log(tmp_path / "out" / "log.csv") if row.row == "epoch"]
    assert rows[-1].loss < 0.8 * rows[0].loss
    assert result.metrics["val_top1"] > 0.5
    loaded = load_segmenter(tmp_path / "out")
    assert loaded.info.classes == ("red", "green")
    assert loaded.model.config.width == 0.125
    with pytest.raises(InputError, match="is the checkpoint of a segmenter"):
        load_checkpoint(tmp_path / "out")
    with pytest.raises(InputError, match="is the checkpoint of a BAS model"):
        load_segmenter(begun)


def test_a_set_without_masks_and_two_beginnings_are_refused(squares: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "classes.json").write_text((squares / "classes.json").read_text())
    (bare / "index.csv").write_text(f"path,labels\n{squares / '0.png'},red\n")
    with pytest.raises(InputError, match="has no masks"):
        train_segmenter(bare, tmp_path / "run")
    with pytest.raises(InputError, match="not with both"):
        train_segmenter(squares, tmp_path / "run", start="a", pretrained="b")


def test_a_stopped_run_goes_on_as_if_never_stopped(
    squares: Path, tiny_overrides: tuple[str, ...], tmp_path: Path
) -> None:
    overrides = [*tiny_overrides, "schedule.epochs=2"]
    train_segmenter(squares, tmp_path / "whole", overrides=overrides)
    with pytest.raises(TrainingInterrupted, match="bas-edge train-segmenter"):
        train_segmenter(squares, tmp_path / "parts", overrides=overrides, reporter=_Stop(3))
    train_segmenter(squares, tmp_path / "parts", resume="auto")
    again = train_segmenter(squares, tmp_path / "parts", resume="auto")
    assert (again.steps, again.warnings) == (4, ("It was trained before; nothing was done now.",))
    one, other = (load_segmenter(tmp_path / name).model for name in ("whole", "parts"))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0)


class _Stop(SilentReporter):
    """Presses Ctrl-C after some steps."""

    def __init__(self, after: int) -> None:
        self.after = after

    def step(self, row: LogRow) -> None:
        if row.step == self.after:
            signal.raise_signal(signal.SIGINT)
