"""BAS with several labels an image: losses, the drawn class, and a run."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bas_edge.errors import InputError
from bas_edge.segmentation import read_image_set
from bas_edge_training.checkpoint import load_checkpoint
from bas_edge_training.models import BasModel, LossConfig
from bas_edge_training.progress import SilentReporter
from bas_edge_training.recipe import load_recipe
from bas_edge_training.results import TrainingInterrupted
from bas_edge_training.run_model import new_model
from bas_edge_training.segmentation.bas_training import chosen_classes, train_multi_label
from bas_edge_training.segmentation.data import multi_label_data
from bas_edge_training.segmentation.losses import multi_label_cross_entropy, multi_label_loss
from bas_edge_training.segmentation.segmenter_training import train_segmenter
from bas_edge_training.training_log import LogRow, read_log

PRESENT = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)


def by_loop(logits: Tensor, present: Tensor) -> float:
    """CE over [one present class, all absent ones], summed; mean over images."""
    total = 0.0
    for scores, own in zip(logits, present, strict=True):
        for positive in scores[own]:
            competing = torch.cat([positive[None], scores[~own]])[None]
            total += float(torch.nn.functional.cross_entropy(competing, torch.tensor([0])))
    return total / len(logits)


def test_multi_label_cross_entropy_is_the_published_one() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).mul(5).double()
    assert float(multi_label_cross_entropy(logits, PRESENT)) == pytest.approx(
        by_loop(logits, PRESENT)
    )


def test_present_classes_do_not_compete_and_gradients_stay_finite() -> None:
    logits = torch.tensor([[90.0, -90.0, 3.0, 0.0]] * 3, requires_grad=True)
    multi_label_cross_entropy(logits, PRESENT).backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
    assert logits.grad[2].abs().sum() == 0  # every class is present: nothing to compare with


def gradients(model: BasModel, total: Tensor) -> dict[str, bool]:
    """Which parts of the model a loss moves."""
    model.zero_grad()
    total.backward(retain_graph=True)
    parts = ("trunk", "tail", "head", "generator")
    return {
        part: any(
            p.grad is not None and bool(p.grad.abs().sum() > 0)
            for p in getattr(model, part).parameters()
        )
        for part in parts
    }


def test_gradients_go_where_the_paper_has_them(make_model: Callable[..., BasModel]) -> None:
    model = make_model("edge", classes=4, side=32).train()
    frames = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    chosen = torch.tensor([2, 1, 0])
    losses = multi_label_loss(model, frames, PRESENT, chosen, LossConfig(0.2, 1.2))
    classified = {"trunk": True, "tail": True, "head": True, "generator": False}
    mapped = {"trunk": True, "tail": False, "head": False, "generator": True}
    assert gradients(model, losses.classification) == classified
    for term in (losses.foreground, losses.background, losses.area):
        assert gradients(model, term) == mapped
    weighted = losses.classification + 0.2 * losses.foreground + losses.background
    torch.testing.assert_close(losses.total, weighted + 1.2 * losses.area)


def test_one_present_class_is_drawn_per_image_and_step() -> None:
    rows = torch.tensor([5, 6, 7])
    drawn = torch.stack([chosen_classes(PRESENT, rows, 3, step) for step in range(60)])
    for image, own in enumerate(PRESENT):
        assert set(drawn[:, image].tolist()) == set(own.nonzero().flatten().tolist())
    again = chosen_classes(PRESENT[1:], rows[1:], 3, 7)  # whatever else is in the batch
    assert again.tolist() == drawn[7, 1:].tolist()


@pytest.fixture(scope="module")
def set_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of up to two of three colours, and one of nothing."""
    root = tmp_path_factory.mktemp("multi")
    generator = np.random.default_rng(2)
    names = ("red", "green", "blue")
    lines = ["path,labels"]
    for number in range(9):
        present = (number % 3, (number + number // 3) % 3) if number < 8 else ()
        pixels = generator.integers(0, 100, (40, 44, 3)).astype(np.uint8)
        for slot, label in enumerate(present):
            pixels[8:30, 2 + 20 * slot : 20 + 20 * slot, label] = 250
        Image.fromarray(pixels).save(root / f"{number}.png")
        lines.append(f"{number}.png,{';'.join(names[label] for label in present)}")
    (root / "index.csv").write_text("\n".join(lines) + "\n")
    values = {str(number): name for number, name in enumerate(names, 1)}
    (root / "classes.json").write_text(json.dumps({"mask_values": values}))
    return root


class _Stop(SilentReporter):
    """Presses Ctrl-C after some steps."""

    def __init__(self, after: int) -> None:
        self.after = after

    def step(self, row: LogRow) -> None:
        if row.step == self.after:
            signal.raise_signal(signal.SIGINT)


def test_a_run_learns_and_goes_on_as_if_never_stopped(
    set_folder: Path, tiny_overrides: tuple[str, ...], tmp_path: Path
) -> None:
    overrides = [*tiny_overrides, "schedule.epochs=3", "optimizer.lr=0.005"]
    whole = train_multi_label(set_folder, tmp_path / "whole", overrides=overrides)
    assert whole.next_command.startswith("bas-edge seeds ")
    rows = [row for row in read_log(tmp_path / "whole" / "log.csv") if row.row == "epoch"]
    assert rows[-1].loss < rows[0].loss
    parts = tmp_path / "parts"
    with pytest.raises(TrainingInterrupted, match="--task segmentation --split train"):
        train_multi_label(set_folder, parts, overrides=overrides, reporter=_Stop(3))
    train_multi_label(set_folder, parts, resume="auto")
    again = train_multi_label(set_folder, parts, resume="auto")
    assert again.next_command == whole.next_command.replace("whole", "parts")
    with pytest.raises(InputError, match="of a BAS model"):
        train_segmenter(set_folder, parts, resume="auto")
    one, other = load_checkpoint(tmp_path / "whole"), load_checkpoint(parts)
    assert one.info.classes == ("red", "green", "blue")
    assert (one.info.data.images, one.info.data.background) == (8, 1)
    assert rows[0].empty > 0
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(other.model.state_dict()[name], value, rtol=0, atol=0)


def test_held_out_images_are_not_trained_on(set_folder: Path) -> None:
    data = multi_label_data(read_image_set(set_folder), fraction=0.25, seed=1)
    listed = data.listed
    assert (len(listed.paths), len(listed.validation_paths)) == (6, 2)
    assert not set(listed.paths) & set(listed.validation_paths)
    assert (*listed.labels, *listed.validation_labels) == tuple(range(8))
    assert bool(data.present.any(1).all())


def test_images_without_a_class_are_background_and_with_masks_like_the_others(
    set_folder: Path,
) -> None:
    images = read_image_set(set_folder)
    (nothing,) = [image for image in images.images if not image.labels]
    apart = multi_label_data(images, fraction=0, seed=1)
    assert apart.listed.background == (nothing.path,)
    among = multi_label_data(images, fraction=0, seed=1, masks=True)
    assert (len(among.listed.paths), among.listed.background) == (9, ())
    assert not among.present[among.listed.paths.index(nothing.path)].any()
    assert apart.listed.fingerprint != among.listed.fingerprint


@pytest.mark.parametrize(
    ("absent", "end"), [(1, "1 of 4 classes cannot be learnt, being in no training image: 'c0'."),
                        (7, "7 of 10 classes cannot be learnt, being in no training image: "
                            "'c0', 'c1', 'c2', 'c3', 'c4', ….")],
)  # fmt: skip
def test_classes_that_no_image_has_are_one_sentence(
    absent: int, end: str, set_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(set_folder, tmp_path / "set"))
    names = ["red", "green", "blue", *(f"c{number}" for number in range(absent))]
    values = {str(number): name for number, name in enumerate(names, 1)}
    (folder / "classes.json").write_text(json.dumps({"mask_values": values}))
    found = multi_label_data(read_image_set(folder), fraction=0, seed=1)
    assert found.listed.warnings == (end,)
    assert multi_label_data(read_image_set(set_folder), fraction=0, seed=1).listed.warnings == ()


def test_a_set_without_labels_is_refused(set_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(set_folder, tmp_path / "bare")
    index = tmp_path / "bare" / "index.csv"
    lines = index.read_text().splitlines()
    bare = [lines[0], *(line.partition(",")[0] + "," for line in lines[1:])]
    index.write_text("\n".join(bare) + "\n")
    with pytest.raises(InputError, match=r"No image of the split 'train' of .* has a class"):
        multi_label_data(read_image_set(tmp_path / "bare"), fraction=0, seed=0)


def test_a_set_whose_images_all_have_every_class_is_refused(
    set_folder: Path, tmp_path: Path
) -> None:
    """Present classes are compared with absent ones alone: the loss would be 0."""
    shutil.copytree(set_folder, tmp_path / "one")
    (tmp_path / "one" / "classes.json").write_text('{"mask_values": {"1": "red"}}')
    lines = ["path,labels", "0.png,red", "1.png,red", "2.png,"]
    (tmp_path / "one" / "index.csv").write_text("\n".join(lines) + "\n")
    images = read_image_set(tmp_path / "one")
    with pytest.raises(InputError, match="has all 1, so nothing tells them apart"):
        multi_label_data(images, fraction=0, seed=0)
    assert len(multi_label_data(images, fraction=0, seed=0, masks=True).listed.paths) == 3


def test_the_published_recipe_has_maps_and_activations_of_the_same_cells() -> None:
    """BAS-Extension's ResNet50: layer3 at stride 16, a layer4 that halves nothing, no biases."""
    recipe = load_recipe(
        "segmentation_voc", ["model.width=0.125", "data.resize=64", "data.crop=64"]
    )
    assert (recipe.loss.alpha, recipe.loss.beta, recipe.data.batch_size) == (0.2, 1.2, 16)
    model = new_model(recipe, 4, "", SilentReporter())
    frames = torch.zeros(2, 3, 64, 64)
    features = model.features(frames)
    assert list(model.generator(features).shape) == [2, 4, 4, 4]
    assert list(model.head(model.tail(features.deep)).shape) == [2, 4, 4, 4]
    assert not [name for name, _ in model.head.named_parameters() if name.endswith("bias")]
    losses = multi_label_loss(
        model, frames, PRESENT[:2], torch.tensor([0, 1]), LossConfig(0.2, 1.2)
    )
    assert bool(torch.isfinite(losses.total))
