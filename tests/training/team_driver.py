"""What each process of test_several_processes.py runs; torchrun starts it.

`team_driver.py scenarios FOLDER OPTION ...` runs one training after another and leaves what this
process got in FOLDER/outcomes_RANK.json. `team_driver.py killed FOLDER OPTION ...` runs one by the
command line, of which process 1 is killed once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bas_edge.cli.app import main
from bas_edge_training import train
from bas_edge_training.batches import Batch
from bas_edge_training.trainer import StepFigures, Trainer

RANK = int(os.environ["RANK"])
plain_step = Trainer.step


def before_step(at: int, act: Callable[[], None]) -> None:
    """Let process 1 do something before a step, counted from 1."""

    def step(self: Trainer, batch: Batch, number: int, factor: float) -> StepFigures | None:
        if RANK == 1 and number == at:
            act()
        return plain_step(self, batch, number, factor)

    Trainer.step = step


def fail() -> None:
    raise ValueError("the disk is on fire")


def scenarios(folder: Path, options: Sequence[str]) -> None:
    images, nothing = folder / "images", folder / "nothing"
    outcomes: dict[str, Any] = {}

    def run(name: str, *more: str, data: Path = images) -> None:
        try:
            result = train(
                data, folder / name, "default", background=nothing, overrides=[*options, *more]
            )
            outcomes[name] = {"steps": result.steps, "skipped": list(result.skipped)}
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (the test looks at it)
            kind, told = type(error).__name__, getattr(error, "told", None)
            outcomes[name] = {"error": kind, "told": told, "message": str(error)}

    run("whole", "training.ema=0.9", "training.accumulate=2")
    run("normalised", "model.norm=batch")
    run("other", data=images if RANK == 0 else folder / "other_images")
    run("small", "data.batch_size=1")
    run("diverged", "optimizer.lr=1e30")
    before_step(3, fail)
    run("failed")
    before_step(3, lambda: signal.raise_signal(signal.SIGTERM))
    run("stopped")
    (folder / f"outcomes_{RANK}.json").write_text(json.dumps(outcomes))


def die_between_steps(at: int, done: Path) -> None:
    """Let process 1 be killed after a step, when process 0 has left it too and asks for more."""

    def step(self: Trainer, batch: Batch, number: int, factor: float) -> StepFigures | None:
        figures = plain_step(self, batch, number, factor)
        if RANK == 0 and number == at:
            done.touch()
        if RANK == 1 and number == at:
            while not done.exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        return figures

    Trainer.step = step


def note_steps(folder: Path) -> None:
    """Leave a file for each step that process 1 does."""

    def step(self: Trainer, batch: Batch, number: int, factor: float) -> StepFigures | None:
        if RANK == 1:
            (folder / f"went_on_with_step_{number}").touch()
        return plain_step(self, batch, number, factor)

    Trainer.step = step


def killed(folder: Path, options: Sequence[str]) -> int:
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        die_between_steps(5, folder / "step_5_done")
    else:
        note_steps(folder)
    words = ["train", str(folder / "images"), "-o", str(folder / "killed"), "--auto-resume"]
    words += ["--background", str(folder / "nothing")]
    return main([*words, *(word for option in options for word in ("--set", option))])


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, where, *given = sys.argv[1:]
    if what == "scenarios":
        scenarios(Path(where), given)
    else:
        sys.exit(killed(Path(where), given))
