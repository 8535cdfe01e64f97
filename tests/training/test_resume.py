from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bas_edge.errors import InputError
from bas_edge_training import TrainingInterrupted, train
from bas_edge_training.progress import SilentReporter
from bas_edge_training.recipe import Recipe, apply_overrides
from bas_edge_training.training_log import LogRow, read_log

SAVE_EACH_STEP = "machine.save_minutes=1e-9"


class Interrupter(SilentReporter):
    """Presses Ctrl-C after a step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, row: LogRow) -> None:
        if row.step == self.at:
            signal.raise_signal(signal.SIGINT)


def figures(folder: Path) -> list[tuple[object, ...]]:
    """The log without its clock."""
    return [
        (r.row, r.epoch, r.step, r.lr, r.loss, r.ce, r.fg, r.bas, r.area, r.top1, r.val_top1)
        for r in read_log(folder / "log.csv")
    ]


def weights(folder: Path) -> bytes:
    """The tensors of a checkpoint; its header holds times, which differ between runs."""
    content = (folder / "checkpoint.safetensors").read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_killed_run_resumes_to_the_same_bits(
    image_folder: Path, tmp_path: Path, tiny_overrides: tuple[str, ...]
) -> None:
    overrides = [*tiny_overrides, "training.ema=0.9", "validation.fraction=0.2", SAVE_EACH_STEP]
    script = f"""
        import os, signal
        from bas_edge_training import train
        from bas_edge_training.progress import SilentReporter

        class Killer(SilentReporter):
            def step(self, row):
                if row.step == 5:  # the second of three steps of epoch 2; step 4 is saved
                    os.kill(os.getpid(), signal.SIGKILL)

        train({str(image_folder)!r}, {str(tmp_path / "killed")!r}, "default",
              overrides={overrides!r}, reporter=Killer())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(figures(tmp_path / "killed")) == 6  # 5 steps, 1 epoch
    resumed = train(image_folder, tmp_path / "killed", resume=True)
    whole = train(image_folder, tmp_path / "whole", "default", overrides=overrides)
    assert weights(resumed.folder) == weights(whole.folder)
    assert figures(resumed.folder) == figures(whole.folder)
    assert (resumed.metrics, resumed.steps) == (whole.metrics, whole.steps)
    assert not (resumed.folder / "last.safetensors").exists()


@pytest.mark.parametrize("step", [2, 3, 6])  # inside an epoch, on its last step, on the run's
def test_interrupted_run_is_saved_and_resumes(
    image_folder: Path, tmp_path: Path, tiny_recipe: Recipe, step: int
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingInterrupted) as caught:
        train(image_folder, tmp_path / "run", tiny_recipe, reporter=Interrupter(step))
    assert str(caught.value) == (
        f"Stopped after step {step} of 6; all of it is saved. "
        f"Go on with: bas-edge train {image_folder} -o {tmp_path / 'run'} --resume"
    )
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = train(image_folder, tmp_path / "run", resume=True)
    whole = train(image_folder, tmp_path / "whole", tiny_recipe)
    assert weights(resumed.folder) == weights(whole.folder)
    assert figures(resumed.folder) == figures(whole.folder)
    assert (resumed.metrics, resumed.epochs, resumed.steps) == (whole.metrics, 2, 6)


@pytest.fixture
def stopped(image_folder: Path, tmp_path: Path, tiny_recipe: Recipe) -> Path:
    with pytest.raises(TrainingInterrupted):
        train(image_folder, tmp_path / "run", tiny_recipe, reporter=Interrupter(1))
    return tmp_path / "run"


def test_unfinished_run_is_not_replaced_by_accident(
    stopped: Path, image_folder: Path, tiny_recipe: Recipe
) -> None:
    with pytest.raises(InputError, match="already holds an unfinished run") as caught:
        train(image_folder, stopped, tiny_recipe)
    assert f"bas-edge train {image_folder} -o {stopped} --resume" in str(caught.value.hint)


def test_resume_with_another_recipe_is_refused(
    stopped: Path, image_folder: Path, tiny_recipe: Recipe
) -> None:
    other = apply_overrides(tiny_recipe, ["optimizer.lr=0.5", "machine.workers=1"])
    with pytest.raises(InputError, match=r"another recipe: optimizer\.lr \(0\.001, 0\.5\)\."):
        train(image_folder, stopped, other, resume=True)
    same = apply_overrides(tiny_recipe, ["machine.workers=1"])
    assert train(image_folder, stopped, same, resume=True).steps == 6


def test_resume_with_other_images_is_refused(stopped: Path, image_folder: Path) -> None:
    (image_folder / "ant" / "0.png").unlink()
    with pytest.raises(InputError, match="began with other images or labels"):
        train(image_folder, stopped, resume=True)


def test_nothing_to_resume(image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"last\.safetensors is missing"):
        train(image_folder, tmp_path / "never", resume=True)
    assert not (tmp_path / "never").exists()


def test_auto_resume_begins_goes_on_and_leaves_a_finished_run_alone(
    image_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "log.csv").write_text("of a run that was killed before it saved anything\n")
    with pytest.raises(TrainingInterrupted):
        train(image_folder, run, tiny_recipe, resume="auto", reporter=Interrupter(4))
    assert len(figures(run)) == 5
    ended = train(image_folder, run, tiny_recipe, resume="auto")
    assert weights(run) == weights(train(image_folder, tmp_path / "whole", tiny_recipe).folder)
    before = (run / "checkpoint.safetensors").read_bytes()
    again = train(image_folder, run, tiny_recipe, resume="auto")
    assert (again.steps, again.metrics, again.min_score) == (6, ended.metrics, ended.min_score)
    assert again.next_command == ended.next_command
    assert (run / "checkpoint.safetensors").read_bytes() == before
