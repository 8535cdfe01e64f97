from __future__ import annotations

import errno
import json
import re
import stat
from pathlib import Path

import pytest
import torch
from full_disk import full_disk
from safetensors.torch import save_file

from bas_edge.errors import BasEdgeError, InputError
from bas_edge_training.atomic import replace_atomically
from bas_edge_training.checkpoint import (
    CheckpointInfo,
    DataSummary,
    load_checkpoint,
    load_run_state,
    save_checkpoint,
)
from bas_edge_training.models import BasModel, ModelConfig, build_model
from bas_edge_training.recipe import Recipe


@pytest.fixture
def model() -> BasModel:
    torch.manual_seed(0)
    return build_model(ModelConfig(width=0.125, num_classes=3, norm="batch", input_size=32))


def make_info(model: BasModel) -> CheckpointInfo:
    recipe = Recipe()
    return CheckpointInfo(
        model=model.config,
        classes=("ant", "bee", "çat"),
        recipe="default",
        recipe_sha256=recipe.sha256,
        recipe_content=recipe.to_dict(),
        data=DataSummary(source="images", images=12, validation=0, background=0),
        epoch=2,
        step=6,
        seconds=1.5,
        finished=True,
        metrics={"loss": 0.1 + 0.2},
        min_score=0.25,
    )


def test_round_trip_keeps_weights_and_description(model: BasModel, tmp_path: Path) -> None:
    path, info = tmp_path / "checkpoint.safetensors", make_info(model)
    save_checkpoint(path, model.to(memory_format=torch.channels_last).state_dict(), info)
    loaded = load_checkpoint(tmp_path)  # the run folder
    assert loaded.info == info
    assert not loaded.model.training
    frames = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        for one, other in zip(model.eval()(frames), loaded.model(frames), strict=True):
            torch.testing.assert_close(one, other)


def test_readable_copy_and_permissions(model: BasModel, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model.state_dict(), make_info(model))
    copy = path.with_suffix(".json")
    assert json.loads(copy.read_text(encoding="utf-8"))["classes"] == ["ant", "bee", "çat"]
    plain = tmp_path / "plain"
    plain.touch()
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (plain, path, copy)}
    assert len(modes) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint.json", "checkpoint.safetensors", "plain",
    ]  # fmt: skip


def test_foreign_file_is_not_a_checkpoint(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="is a safetensors file, but not a checkpoint of bas-edge"):
        load_checkpoint(tmp_path / "other.safetensors")


def test_checkpoint_is_not_the_state_of_a_run(model: BasModel, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model.state_dict(), make_info(model))
    with pytest.raises(InputError, match="is not the state of an unfinished run that this"):
        load_run_state(path)


def test_missing_and_damaged_files(model: BasModel, tmp_path: Path) -> None:
    engine = tmp_path / "birds.engine"
    engine.mkdir()
    (engine / "manifest.json").touch()
    for folder, hint in ((tmp_path, "bas-edge train writes it"), (engine, "engine is an engine")):
        with pytest.raises(InputError, match=r"checkpoint\.safetensors does not exist") as error:
            load_checkpoint(folder)
        assert hint in str(error.value.hint)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model.state_dict(), make_info(model))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is damaged"):
        load_checkpoint(path)
    published = path.rename(tmp_path / "best.pth.tar")
    with pytest.raises(InputError, match=r"best\.pth\.tar is not a checkpoint of bas-edge, which"):
        load_checkpoint(published)


def test_weights_of_another_model(model: BasModel, tmp_path: Path) -> None:
    path, weights = tmp_path / "checkpoint.safetensors", model.state_dict()
    weights["head.classifier.weight"] = torch.zeros(5, 128, 1, 1)
    save_checkpoint(path, weights, make_info(model))
    with pytest.raises(InputError, match="do not fit their own description"):
        load_checkpoint(path)


def test_checkpoint_that_a_full_disk_cuts_off_leaves_the_old_one(
    model: BasModel, tmp_path: Path
) -> None:
    """The system refuses inside of safetensors, whose errors are its own."""
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model.state_dict(), make_info(model))
    before = path.read_bytes()
    with full_disk(4096), pytest.raises(BasEdgeError) as caught:
        save_checkpoint(path, model.state_dict(), make_info(model))
    assert re.match(r"Cannot write .*checkpoint\.safetensors: .*File too large", str(caught.value))
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint.json",
        "checkpoint.safetensors",
    ]


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(BasEdgeError, match=r"Cannot write .*file: No space left on device"):
        replace_atomically(path, write)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
