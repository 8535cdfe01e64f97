"""The run folder: is it free, does it hold a run, and what would a resume go on with."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from bas_edge.errors import InputError
from bas_edge_training.atomic import make_folder
from bas_edge_training.checkpoint import (
    CheckpointInfo,
    RunState,
    load_checkpoint,
    load_run_state,
)
from bas_edge_training.recipe import (
    Recipe,
    apply_overrides,
    load_recipe,
    recipe_differences,
    recipe_from_mapping,
)
from bas_edge_training.recipe_task import Task, require_task
from bas_edge_training.results import TrainResult

__all__ = [
    "RunFolder",
    "SavedRun",
    "choose_recipe",
    "claim_folder",
    "export_command",
    "read_finished_run",
    "read_saved_run",
    "resume_command",
    "run_to_resume",
]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def last(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def log(self) -> Path:
        return self.path / "log.csv"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    def maps(self, epoch: int) -> Path:
        """The contact sheet of an epoch, counted from 1."""
        return self.path / f"maps_epoch_{epoch:03d}.png"

    def files(self) -> list[Path]:
        """Those that exist."""
        if not self.path.is_dir():
            return []
        single = [self.checkpoint, self.checkpoint.with_suffix(".json"), self.last, self.log]
        found = [path for path in [*single, self.curves] if path.is_file()]
        return found + sorted(self.path.glob("maps_epoch_[0-9]*.png"))


@dataclass(frozen=True, slots=True)
class SavedRun:
    """What `last.safetensors` holds."""

    tensors: Mapping[str, Tensor]
    state: RunState


def read_saved_run(folder: RunFolder) -> SavedRun:
    """The unfinished run in a folder. Raises InputError where there is none."""
    if not folder.last.is_file():
        if folder.checkpoint.is_file():
            raise InputError(
                f"The run in {folder.path} is finished; there is nothing to resume.",
                hint="Choose another output folder to train again.",
            )
        raise InputError(
            f"{folder.path} holds no run that could be resumed: {folder.last.name} is missing.",
            hint="Leave out --resume to start one.",
        )
    tensors, state = load_run_state(folder.last)
    return SavedRun(tensors, state)


def run_to_resume(folder: RunFolder, resume: bool | Literal["auto"]) -> SavedRun | None:
    """`read_saved_run` where a resume is asked for; "auto": where there is one to resume."""
    if resume is True or (resume == "auto" and folder.last.is_file()):
        return read_saved_run(folder)
    return None


def _described(path: Path) -> CheckpointInfo:
    return load_checkpoint(path).info


def read_finished_run(
    folder: RunFolder, describe: Callable[[Path], CheckpointInfo] = _described
) -> TrainResult | None:
    """What the finished run in a folder has reached; None where there is none.

    `describe` reads a checkpoint, and refuses those of another task.
    """
    if folder.last.is_file() or not folder.checkpoint.is_file():
        return None
    info = describe(folder.checkpoint)
    if not info.finished:
        return None
    return TrainResult(
        folder=folder.path,
        checkpoint=folder.checkpoint,
        epochs=info.epoch,
        steps=info.step,
        seconds=info.seconds,
        metrics=info.metrics,
        min_score=info.min_score,
        skipped={},
        converted=info.data.converted,
        warnings=("It was trained before; nothing was done now.",),
        next_command=export_command(folder.path),
    )


def export_command(path: Path) -> str:
    """What to type once a run is finished."""
    onnx = path.with_suffix(".onnx")
    words = ["bas-edge", "export", str(path), "-o", str(onnx)]
    return shlex.join(words + ["--overwrite"] * onnx.exists())


def claim_folder(folder: RunFolder, *, overwrite: bool, resume_with: str) -> None:
    """Create the folder of a new run; with `overwrite`, remove the files of the run in it.

    Raises:
        InputError: It holds a run and `overwrite` is not set, or it holds other files.
    """
    path, own = folder.path, folder.files()
    if own and not overwrite:
        unfinished = folder.last.is_file()
        raise InputError(
            f"{path} already holds {'an unfinished' if unfinished else 'a finished'} run.",
            hint=f"Resume it: {resume_with}"
            if unfinished
            else "Choose another output folder, or pass --overwrite.",
        )
    if not own and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(
            f"{path} exists and is not a run folder.", hint="Choose another output folder."
        )
    for file in own:
        file.unlink()
    make_folder(path)


def choose_recipe(
    recipe: Recipe | str | Path | None,
    overrides: Iterable[str],
    saved: SavedRun | None,
    task: Task,
) -> tuple[str, Recipe]:
    """Name and recipe of a run for `task`; a resume's must be the one that the run began with."""
    overrides = list(overrides)
    began = None
    if saved is not None:
        began = recipe_from_mapping(saved.state.recipe_content, "the recipe of the run")
    if isinstance(recipe, Recipe):
        name, chosen = "custom", recipe
    elif recipe is not None or began is None:
        source = recipe or "default"
        name, chosen = Path(source).stem, load_recipe(source)
    else:
        name, chosen = "", began
    chosen = apply_overrides(chosen, overrides)
    if recipe is not None:
        require_task(chosen, name if isinstance(recipe, Recipe) else recipe, task)
    if saved is None or began is None:
        return ", ".join([name, *overrides]), chosen
    differing = recipe_differences(began, chosen)
    if differing:
        raise InputError(
            f"The run began with another recipe: {'; '.join(differing)}.",
            hint="Leave the recipe out, and it goes on with its own.",
        )
    return saved.state.recipe, chosen


def resume_command(
    data: Path,
    output: Path,
    options: Mapping[str, Path | str | None],
    processes: int = 1,
    *,
    verb: str = "train",
) -> str:
    """What to type to go on with a run, on a machine that has so many of its processes.

    Options without a value are left out.
    """
    words = ["bas-edge"]
    if processes > 1:
        words = ["torchrun", "--nproc-per-node", str(processes), "-m", "bas_edge.cli"]
    words += [verb, str(data), "-o", str(output)]
    for option, value in options.items():
        if value is not None:
            words += [option, str(value)]
    return shlex.join([*words, "--resume"])
