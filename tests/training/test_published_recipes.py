"""The published recipes hold the published figures, and what they say reaches the engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from published_sets import SETS

from bas_edge.errors import InputError
from bas_edge_training import export, train
from bas_edge_training.checkpoint import load_checkpoint
from bas_edge_training.models import ModelConfig, build_model
from bas_edge_training.recipe import load_recipe, recipe_names
from bas_edge_training.run_folder import resume_command
from bas_edge_training.schedules import lr_factor

# alpha, beta, top-k, threshold, epochs, decay, batch: the table of hyperparameters.py
PUBLISHED = {
    "cub_vgg16": (0.0, 0.9, 80, 0.1, 120, (80,), 32),
    "cub_resnet50": (0.5, 1.5, 200, 0.1, 120, (80,), 32),
    "cub_inception_v3": (0.5, 1.0, 200, 0.1, 120, (80,), 32),
    "cub_mobilenet_v1": (0.5, 1.9, 80, 0.1, 120, (80,), 32),
    "ilsvrc_vgg16": (0.05, 1.0, 1, 0.45, 9, (3, 6), 256),
    "ilsvrc_resnet50": (1.0, 2.0, 1, 0.25, 9, (3, 6), 128),
    "ilsvrc_inception_v3": (1.0, 2.5, 1, 0.25, 9, (3, 6), 128),
    "ilsvrc_mobilenet_v1": (0.5, 1.5, 1, 0.5, 9, (3, 6), 128),
    "openimages_resnet50": (0.5, 1.5, 1, 0.0, 50, (20, 40), 64),
    "finegrained_vgg16": (0.5, 1.5, 200, 0.1, 120, (80,), 32),
    "finegrained_resnet50": (0.5, 1.5, 200, 0.1, 120, (80,), 32),
    "finegrained_inception_v3": (0.5, 1.5, 200, 0.1, 120, (80,), 32),
    "finegrained_mobilenet_v1": (0.5, 1.5, 200, 0.1, 120, (80,), 32),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_figures(name: str) -> None:
    recipe = load_recipe(f"{name}_published")
    loss, schedule, cut = recipe.loss, recipe.schedule, recipe.localization
    found = (loss.alpha, loss.beta, cut.top_k, cut.threshold, schedule.epochs)
    assert (*found, schedule.decay_epochs, recipe.data.batch_size) == PUBLISHED[name]
    assert recipe.model.architecture == name.partition("_")[2]
    assert (recipe.model.head, recipe.model.atrous, recipe.model.centred) == ("paper", False, False)
    assert (recipe.data.resize, recipe.data.crop, recipe.data.flip) == (256, 224, True)
    own = recipe.optimizer
    assert (own.lr, own.momentum, own.nesterov) == (0.001, 0.9, True)
    assert (own.weight_decay, own.weight_decay_depthwise) == (0.0005, 0.0005)
    assert (schedule.kind, schedule.decay_factor, schedule.warmup_steps) == ("step", 0.1, 0)
    assert (loss.warmup_steps, recipe.validation.fraction, recipe.training.ema) == (0, 0.0, 0.0)


def test_there_are_no_others() -> None:
    assert {f"{name}_published" for name in PUBLISHED} == {
        name for name in recipe_names() if name.endswith("_published")
    }
    assert "published" not in recipe_names()


def test_the_page_shows_the_same_figures() -> None:
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)_published` \| (.+) \|$", text, flags=re.MULTILINE)
    shown = {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}
    assert shown == {
        name: [
            *(f"{value:g}" for value in row[:3]),
            f"{row[3]:g}" if row[3] else "–",
            str(row[4]),
            ", ".join(map(str, row[5])),
            str(row[6]),
        ]
        for name, row in PUBLISHED.items()
    }


@pytest.mark.parametrize("name", ["cub_vgg16", "cub_resnet50", "cub_mobilenet_v1"])
def test_the_model_can_be_built(name: str) -> None:
    options = load_recipe(f"{name}_published").model
    width = 0.125 if options.architecture == "mobilenet_v1" else options.width
    model = build_model(
        ModelConfig(
            architecture=options.architecture,
            width=width,
            head=options.head,
            atrous=options.atrous,
            centred=options.centred,
            norm=options.norm,
            num_classes=2,
        )
    )
    assert model.config.norm == ("none" if "vgg16" in name else "batch")


@pytest.mark.parametrize(("name", "every"), [("cub_vgg16", 80), ("ilsvrc_vgg16", 3),
                                             ("openimages_resnet50", 20)])  # fmt: skip
def test_the_rate_is_the_published_one_in_every_step(name: str, every: int) -> None:
    """lr.py multiplies the rate with 0.1 before each epoch but the first that `every` divides."""
    schedule = load_recipe(f"{name}_published").schedule
    steps, rate = 7, 1.0
    for epoch in range(schedule.epochs):
        if epoch != 0 and epoch % every == 0:
            rate *= 0.1
        for step in range(epoch * steps, (epoch + 1) * steps):
            found = lr_factor(schedule, step, schedule.epochs * steps)
            assert found == pytest.approx(rate, rel=1e-12)


def test_a_shorter_run_has_to_say_when_the_rate_falls() -> None:
    with pytest.raises(InputError, match="decay_epochs has 80 but the run ends after 40 epochs"):
        load_recipe("cub_vgg16_published", ["schedule.epochs=40"])
    overrides = ["schedule.epochs=40", "schedule.decay_epochs=[20, 30]"]
    assert load_recipe("cub_vgg16_published", overrides).schedule.decay_epochs == (20, 30)


def test_a_resume_names_the_splits(tmp_path: Path) -> None:
    command = resume_command(
        Path("CUB"),
        tmp_path,
        {"--split": "train", "--validation": Path("CUB"), "--background": None},
    )
    assert command == f"bas-edge train CUB -o {tmp_path} --split train --validation CUB --resume"


# From the recipe to the engine


TINY = (
    "model.width=0.125",
    "model.head=edge",
    "data.resize=40",
    "data.crop=32",
    "data.batch_size=3",
    "schedule.epochs=2",
    "schedule.decay_epochs=[1]",
    "training.deterministic=true",
    "machine.device=cpu",
    "machine.threads=1",
    "machine.workers=0",
)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of the CUB recipe on a set in the layout of CUB-200-2011."""
    root = SETS["cub"].make(tmp_path_factory.mktemp("CUB_200_2011"))
    folder = tmp_path_factory.mktemp("runs") / "cub"
    train(root, folder, "cub_mobilenet_v1_published", validation=root, overrides=TINY)
    return folder


def test_a_run_on_a_published_set(run_folder: Path) -> None:
    info = load_checkpoint(run_folder).info
    assert info.classes == ("001.a", "002.b", "003.c")
    assert (info.data.images, info.data.validation) == (6, 6)
    assert info.recipe_content["localization"] == {"top_k": 80, "threshold": 0.1}
    lines = (run_folder / "log.csv").read_text().splitlines()
    rates = [float(line.split(",")[3]) for line in lines[1:] if line.startswith("step")]
    assert rates == pytest.approx([0.001, 0.001, 0.0001, 0.0001])


def test_the_recipes_threshold_ships_and_says_so(run_folder: Path, tmp_path: Path) -> None:
    threshold = load_checkpoint(run_folder).info.threshold
    assert threshold is not None
    assert (threshold.rule, threshold.value) == ("fixed", 0.1)
    assert threshold.chosen_by == "recipe cub_mobilenet_v1_published"
    report = export(run_folder, tmp_path / "cub.onnx", simplify=False)
    assert report.manifest.threshold == threshold
    assert report.manifest.top_k == 3  # 80, or all of fewer classes
    assert "6 of 6 images of" in report.samples  # its training images, and no mask or test image
