from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bas_edge.errors import InputError
from bas_edge_training import TrainResult, load_checkpoint, train
from bas_edge_training.contact_sheet import overlay, sample_indices
from bas_edge_training.progress import RunPlan
from bas_edge_training.recipe import Recipe, apply_overrides
from bas_edge_training.run_model import doubts
from bas_edge_training.trainer import DivergenceError
from bas_edge_training.training_log import LogRow, read_log


@dataclass
class Recorder:
    """A reporter that remembers."""

    notes: list[str] = field(default_factory=list)
    plans: list[RunPlan] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    ended: int = 0

    def begin(self, plan: RunPlan) -> None:
        self.plans.append(plan)

    def step(self, row: LogRow) -> None:
        self.steps.append(row.step)

    def epoch(self, row: LogRow) -> None:
        self.epochs.append(row.epoch)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def end(self) -> None:
        self.ended += 1


@pytest.fixture
def run(image_folder: Path, tmp_path: Path, tiny_recipe: Recipe) -> TrainResult:
    recipe = apply_overrides(tiny_recipe, ["validation.fraction=0.25"])
    return train(image_folder, tmp_path / "run", recipe)


def test_run_folder_holds_everything(run: TrainResult) -> None:
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "checkpoint.json",
        "checkpoint.safetensors",
        "curves.png",
        "log.csv",
        "maps_epoch_001.png",
        "maps_epoch_002.png",
    ]
    for picture in run.folder.glob("*.png"):
        with Image.open(picture) as image:
            assert min(image.size) > 32
    assert (run.epochs, run.steps) == (2, 6)
    assert run.skipped == {}
    assert run.next_command == f"bas-edge export {run.folder} -o {run.folder}.onnx"


def test_scores_that_never_left_chance_are_named(
    image_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    recipe = apply_overrides(tiny_recipe, ["optimizer.lr=1e-12"])
    result = train(image_folder, tmp_path / "run", recipe)
    (warning,) = result.warnings
    assert [warning] == list(doubts(result.metrics, 3))
    assert warning.startswith("The class scores stayed near chance: top-1 ")
    assert "33.3% by guessing" in warning
    assert "schedule.warmup_steps" in warning


@pytest.mark.parametrize(
    ("metrics", "classes", "doubtful"),
    [({}, 5, 0), ({"top1": 0.6}, 3, 0), ({"top1": 0.34}, 3, 1), ({"top1": 0.05}, 50, 0),
     ({"top1": 0.03}, 50, 1), ({"top1": 1.0}, 1, 0)],
)  # fmt: skip
def test_doubt_is_about_chance(metrics: dict[str, float], classes: int, doubtful: int) -> None:
    assert len(list(doubts(metrics, classes))) == doubtful


def test_checkpoint_describes_the_run(run: TrainResult, tiny_recipe: Recipe) -> None:
    info = load_checkpoint(run.folder).info
    assert info.classes == ("ant", "bee", "cat")
    assert (info.epoch, info.step, info.finished) == (2, 6, True)
    assert (info.data.images, info.data.validation) == (9, 3)
    assert info.metrics == run.metrics
    assert info.min_score == run.min_score
    assert info.recipe_content["model"]["width"] == 0.125
    assert info.recipe_sha256 != tiny_recipe.sha256  # another validation.fraction
    assert "machine" not in info.recipe_content
    assert json.loads((run.folder / "checkpoint.json").read_text())["finished"] is True


def test_log_has_a_row_a_step_and_means_an_epoch(run: TrainResult) -> None:
    rows = read_log(run.folder / "log.csv")
    assert [(row.row, row.epoch, row.step) for row in rows] == [
        *(("step", 1, step) for step in (1, 2, 3)),
        ("epoch", 1, 3),
        *(("step", 2, step) for step in (4, 5, 6)),
        ("epoch", 2, 6),
    ]
    first = rows[:3]  # 4 + 4 + 1 images
    mean = (4 * first[0].ce + 4 * first[1].ce + first[2].ce) / 9
    assert rows[3].ce == pytest.approx(mean, rel=1e-4)
    for row in rows:
        assert row.loss == pytest.approx(row.ce + 0.5 * row.fg + row.bas + 1.9 * row.area, rel=1e-4)
        assert (row.val_top1 is None) == (row.row == "step")
    assert [row.lr for row in rows] == sorted((row.lr for row in rows), reverse=True)


def test_same_seed_same_weights_whatever_the_workers(
    image_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    results = [
        train(image_folder, tmp_path / name, apply_overrides(tiny_recipe, overrides))
        for name, overrides in (
            ("one", []),
            ("two", ["machine.workers=2", "machine.cache=off"]),
            ("three", ["training.seed=1"]),
        )
    ]
    one, two, three = (load_checkpoint(r.checkpoint).model.state_dict() for r in results)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["generator.conv.weight"], three["generator.conv.weight"])


def test_steps_end_a_run_inside_an_epoch(
    image_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    recorder = Recorder()
    recipe = apply_overrides(tiny_recipe, ["schedule.steps=4"])
    result = train(image_folder, tmp_path / "run", recipe, reporter=recorder)
    assert recorder.plans == [RunPlan(steps=4, epochs=2, first_step=0)]
    assert (recorder.steps, recorder.epochs, recorder.ended) == ([1, 2, 3, 4], [1, 2], 1)
    assert result.steps == 4


def test_time_limit_keeps_what_there_is(
    image_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    recipe = apply_overrides(tiny_recipe, ["schedule.max_minutes=1e-9"])
    result = train(image_folder, tmp_path / "run", recipe)
    assert (result.steps, result.epochs) == (1, 1)
    assert load_checkpoint(result.folder).info.finished


def test_background_images_and_average(
    image_folder: Path, background_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    recipe = apply_overrides(tiny_recipe, ["training.ema=0.9", "background.per_batch=2"])
    result = train(image_folder, tmp_path / "run", recipe, background=background_folder)
    assert load_checkpoint(result.folder).info.data.background == 3
    assert result.metrics["empty"] > 0
    assert 0 <= result.min_score < 1


def test_corrupt_image_is_skipped_named_and_counted(
    image_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    bad = image_folder / "bee" / "1.png"
    bad.write_bytes(bad.read_bytes()[:200])
    recorder = Recorder()
    result = train(image_folder, tmp_path / "run", tiny_recipe, reporter=recorder)
    assert list(result.skipped) == [str(bad)]
    assert [note for note in recorder.notes if note.startswith("skipped: ")] == [
        f"skipped: {result.skipped[str(bad)]}"
    ]
    assert load_checkpoint(result.folder).info.data.skipped == 1
    assert result.steps == 6


def test_no_image_can_be_read(image_folder: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    for path in image_folder.glob("*/*"):
        path.write_bytes(b"not a picture")
    with pytest.raises(InputError, match="None of the 12 training images can be read"):
        train(image_folder, tmp_path / "run", tiny_recipe)


def test_converted_images_are_counted(
    image_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    for number in (0, 3):
        path = image_folder / "cat" / f"{number}.png"
        with Image.open(path) as image:
            grey = image.convert("L")
        grey.save(path)
    assert train(image_folder, tmp_path / "run", tiny_recipe).converted == {"L": 2}


def test_finished_run_is_not_replaced_by_accident(
    run: TrainResult, image_folder: Path, tiny_recipe: Recipe
) -> None:
    before = run.checkpoint.read_bytes()
    with pytest.raises(InputError, match="already holds a finished run"):
        train(image_folder, run.folder, tiny_recipe)
    with pytest.raises(InputError, match="is finished; there is nothing to resume"):
        train(image_folder, run.folder, tiny_recipe, resume=True)
    assert run.checkpoint.read_bytes() == before
    (run.folder / "notes.txt").write_text("mine")
    recipe = apply_overrides(tiny_recipe, ["schedule.epochs=1"])
    train(image_folder, run.folder, recipe, overwrite=True)
    assert load_checkpoint(run.folder).info.epoch == 1
    assert not (run.folder / "maps_epoch_002.png").exists()
    assert (run.folder / "notes.txt").read_text() == "mine"


def test_bad_input_leaves_an_old_run_alone(
    run: TrainResult, image_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    with pytest.raises(InputError, match="No such file or folder"):
        train(tmp_path / "nowhere", run.folder, tiny_recipe, overwrite=True)
    with pytest.raises(InputError, match=r"pretrained file .* does not exist"):
        train(image_folder, run.folder, tiny_recipe, pretrained="no.safetensors", overwrite=True)
    assert run.checkpoint.is_file()
    assert (run.folder / "maps_epoch_002.png").is_file()


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_of_something_else_is_refused(
    image_folder: Path, tiny_recipe: Recipe, overwrite: bool
) -> None:
    with pytest.raises(InputError, match="exists and is not a run folder"):
        train(image_folder, image_folder, tiny_recipe, overwrite=overwrite)
    assert len(list(image_folder.glob("*/*"))) == 12


def test_divergence_says_what_to_do_and_keeps_the_last_state(
    image_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    recipe = apply_overrides(
        tiny_recipe, ["optimizer.lr=1e30", "schedule.warmup_steps=6", "machine.save_minutes=1e-9"]
    )
    with pytest.raises(DivergenceError, match=r"(The loss became|are not finite)") as caught:
        train(image_folder, tmp_path / "run", recipe)
    assert "The learning rate is 1e+30." in str(caught.value)
    assert "--set optimizer.lr=5e+29" in str(caught.value.hint)


def test_without_matplotlib_the_curves_are_missed_but_not_the_run(
    image_folder: Path, tmp_path: Path, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    recorder = Recorder()
    recipe = apply_overrides(tiny_recipe, ["schedule.steps=1"])
    result = train(image_folder, tmp_path / "run", recipe, reporter=recorder)
    assert not (result.folder / "curves.png").exists()
    assert "pip install 'bas-edge[report]'" in recorder.notes[-1]


def test_pretrained_backbone_is_used(
    run: TrainResult, image_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    from safetensors.torch import save_file

    from bas_edge_training.models import ModelConfig, build_model

    donor = build_model(ModelConfig(width=0.125, num_classes=2, norm="none", input_size=32))
    units = {"stem": donor.trunk.stem}
    for index, block in enumerate([*donor.trunk.blocks, *donor.tail.blocks]):
        units |= {f"blocks.{index}.dw": block.dw, f"blocks.{index}.pw": block.pw}
    tensors = {
        f"{k}.{n}": getattr(u.conv, n).detach()
        for k, u in units.items()
        for n in ("weight", "bias")
    }
    save_file(tensors, tmp_path / "backbone.safetensors")
    recipe = apply_overrides(tiny_recipe, ["schedule.steps=1", "optimizer.lr=1e-12"])
    result = train(
        image_folder, tmp_path / "fine", recipe, pretrained=tmp_path / "backbone.safetensors"
    )
    checkpoint = load_checkpoint(result.folder)
    assert checkpoint.info.model.norm == "none"
    assert checkpoint.info.pretrained == str(tmp_path / "backbone.safetensors")
    torch.testing.assert_close(
        checkpoint.model.trunk.stem.conv.weight, donor.trunk.stem.conv.weight, atol=1e-6, rtol=0
    )


def test_samples_are_spread_over_the_classes() -> None:
    labels = [2, 0, 0, 1, 2, 3]
    assert sample_indices(labels) == [1, 3, 0, 5]
    assert sample_indices(labels, count=2) == [1, 5]
    assert sample_indices([]) == []


def test_overlay_is_red_where_the_map_is_high() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    shown = overlay(grey, np.array([[0, 1]], np.float32))
    assert shown[4, 7, 0] > 150 > shown[4, 7, 2]
    assert shown[4, 0, 2] > 100 > shown[4, 0, 0]
    np.testing.assert_array_equal(overlay(grey, np.full((2, 2), 0.5, np.float32)), grey)


def test_bad_recipe_creates_no_folder(image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--set: unknown key"):
        train(image_folder, tmp_path / "run", overrides=["data.batch=2"])
    assert not (tmp_path / "run").exists()
