"""The segmenter: its head, its masks under its crops, and a run."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bas_edge.errors import InputError
from bas_edge.segmentation import read_image_set, write_mask
from bas_edge_training import load_checkpoint
from bas_edge_training.models import BasModel
from bas_edge_training.progress import SilentReporter
from bas_edge_training.recipe import Recipe, load_recipe
from bas_edge_training.results import TrainingInterrupted
from bas_edge_training.run_images import RunImages
from bas_edge_training.segmentation.bas_training import train_multi_label
from bas_edge_training.segmentation.data import multi_label_data
from bas_edge_training.segmentation.segmenter import SegmenterModel
from bas_edge_training.segmentation.segmenter_training import (
    _Masks,
    _SegmenterTrainer,
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


def test_masks_are_cropped_and_flipped_as_their_images_are(
    squares: Path, tiny_overrides: tuple[str, ...], make_model: Callable[..., BasModel]
) -> None:
    recipe: Recipe = load_recipe("segmenter", tiny_overrides)
    images = read_image_set(squares)
    data = multi_label_data(images, fraction=0, seed=0)
    loader = RunImages(data.listed, recipe).loader
    masks = _Masks(images, data)
    model = SegmenterModel(make_model("edge", classes=2, side=32))
    trainer = _SegmenterTrainer(model, recipe, torch.device("cpu"), masks, len(loader))
    for epoch in (0, 3):
        for batch in loader.epoch(epoch):
            for frame, row in zip(batch.frames.numpy(), batch.labels.tolist(), strict=True):
                np.testing.assert_array_equal(
                    trainer._cropped(row, epoch) > 0, frame[:, :, :2].max(axis=2) > 150
                )


def test_pixels_that_do_not_count_move_nothing(
    squares: Path, tiny_overrides: tuple[str, ...], make_model: Callable[..., BasModel]
) -> None:
    images = read_image_set(squares)
    masks = _Masks(images, multi_label_data(images, fraction=0, seed=0))
    recipe = load_recipe("segmenter", tiny_overrides)
    model = SegmenterModel(make_model("edge", classes=2, side=32))
    trainer = _SegmenterTrainer(model, recipe, torch.device("cpu"), masks, 2)
    frames = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    truth = torch.full((2, 32, 32), 255)
    pixels = frames.permute(0, 3, 1, 2)
    losses, _ = trainer.losses.labelled(pixels, truth)
    losses.total.backward()
    assert losses.total.item() == 0
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert grads
    assert all(bool((grad == 0).all()) for grad in grads)
    truth[0, :, 16:] = 1
    half, _ = trainer.losses.labelled(pixels[:1], truth[:1])
    truth[0] = 1  # a frame of one colour: all its pixels cost about the same
    whole, _ = trainer.losses.labelled(pixels[:1], truth[:1])
    assert half.total.item() == pytest.approx(whole.total.item(), rel=0.2)


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
    train_segmenter(squares, tmp_path / "parts", resume=True)
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


def test_several_processes_are_refused(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for run in (train_segmenter, train_multi_label):
        with pytest.raises(InputError, match="trains in one process, but torchrun has started 2"):
            run(squares, tmp_path / "run")
    assert not (tmp_path / "run").exists()
