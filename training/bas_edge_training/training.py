"""Training from end to end: labelled images in, a run folder with a checkpoint out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from bas_edge.errors import InputError
from bas_edge_training.data import TrainingData, read_training_data
from bas_edge_training.machine import StopRequest, keep_freed_memory, torch_settings
from bas_edge_training.progress import Reporter, SilentReporter
from bas_edge_training.qat_start import QatStart, read_qat_start
from bas_edge_training.recipe import Recipe
from bas_edge_training.results import TrainingInterrupted, TrainResult
from bas_edge_training.run import Run
from bas_edge_training.run_folder import (
    RunFolder,
    SavedRun,
    choose_recipe,
    claim_folder,
    read_finished_run,
    resume_command,
    run_to_resume,
)
from bas_edge_training.team import Team, join_team, launched_team

__all__ = ["TrainResult", "TrainingInterrupted", "check_team", "train"]


def train(
    data: str | Path,
    output: str | Path,
    recipe: Recipe | str | Path | None = None,
    *,
    pretrained: str | Path | None = None,
    qat: str | Path | None = None,
    split: str | None = None,
    validation: str | Path | None = None,
    validation_split: str | None = None,
    background: str | Path | None = None,
    overrides: Iterable[str] = (),
    resume: bool | Literal["auto"] = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> TrainResult:
    """Train a localizer from image labels.

    Processes that torchrun has started train one model together, and all of them call this with
    the same arguments. Process 0 alone writes to `output` and calls the reporter; what is
    returned is the same in all.

    Args:
        data: A folder with one subfolder a class, a CSV with path,label,class_name, or a
            published set (docs/datasets.md).
        output: The run folder to create.
        recipe: A recipe, its installed name, or its file; None is "default", on a resume the
            recipe that the run began with, and with `qat` a short form of the checkpoint's.
        pretrained: Backbone weights: a path, or a URL followed by #sha256=… Unused on a resume.
        qat: A checkpoint or run folder to finetune while rounding as an int8 engine does; its
            classes are those of `data`. Unused on a resume.
        split: Which part of `data` to train on, where it has several. Default: that for training.
        validation: A labelled set to validate on, instead of a part of `data`.
        validation_split: Its part. Default: that for evaluation.
        background: A folder of images without any object, beside `data`'s own `background/`.
        overrides: `section.key=value` strings applied to the recipe.
        resume: Go on with the unfinished run in `output`. "auto" begins one where none was saved,
            and only returns what a finished one has reached: the same call can be repeated.
        overwrite: Replace the run in `output`.
        reporter: Told about every step; None is silent.

    Raises:
        InputError: Data, recipe or output folder cannot be used as given.
        DivergenceError: The loss is not finite; the last good state stays in the folder.
        TrainingInterrupted: Ctrl-C or SIGTERM, in any process, after saving.
        PeerError: Another process has failed.
    """
    if qat is not None and pretrained is not None:
        raise InputError(
            "A quantization-aware run begins with its checkpoint, not with pretrained weights.",
            hint="Give either --qat or --pretrained.",
        )
    data, folder = Path(data), RunFolder(Path(output))
    validation = None if validation is None else Path(validation)
    background = None if background is None else Path(background)
    overrides = list(overrides)
    stop = StopRequest(launched_team())
    early, later = stop.entries()
    with early, join_team() as team:
        if resume == "auto" and (ended := team.once(lambda: read_finished_run(folder))):
            return ended
        begun = team.once(lambda: _begin(folder, recipe, overrides, qat, resume))
        images = read_training_data(
            data,
            split=split,
            validation=validation,
            validation_split=validation_split,
            validation_fraction=begun.recipe.validation.fraction,
            background=background,
            seed=begun.recipe.training.seed,
        )
        check_team(team, begun.recipe, images)
        keep_freed_memory()
        named = {
            "--split": split,
            "--validation": validation,
            "--validation-split": validation_split,
            "--background": background,
        }
        resume_with = resume_command(data, folder.path, named, team.local_size)
        with torch_settings(begun.recipe, team), later:
            run = Run(
                folder,
                begun.recipe,
                images,
                name=begun.name,
                pretrained=None if pretrained is None else str(pretrained),
                start=begun.start,
                saved=begun.saved,
                reporter=reporter or SilentReporter(),
                team=team,
            )
            if begun.saved is None:
                replace = overwrite or resume == "auto"
                team.once(lambda: claim_folder(folder, overwrite=replace, resume_with=resume_with))
            return run.go(stop, resume_with)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What a run begins with."""

    name: str
    recipe: Recipe
    start: QatStart | None
    saved: SavedRun | None


def _begin(
    folder: RunFolder,
    recipe: Recipe | str | Path | None,
    overrides: Sequence[str],
    qat: str | Path | None,
    resume: bool | Literal["auto"],
) -> _Beginning:
    """Raises InputError where folder, recipe and checkpoint cannot be used as given."""
    saved = run_to_resume(folder, resume)
    if qat is not None and saved is not None and saved.state.trained_ranges is msgspec.UNSET:
        raise InputError(
            f"The run in {folder.path} began without --qat.",
            hint="Resume it without, and start a quantization-aware one from its checkpoint.",
        )
    start = None if qat is None or saved is not None else read_qat_start(qat)
    if start is None:
        name, chosen = choose_recipe(recipe, overrides, saved, "localization")
    else:
        name, chosen = start.recipe(recipe, overrides)
    return _Beginning(name, chosen, start, saved)


def check_team(team: Team, recipe: Recipe, images: TrainingData) -> None:
    """Raises InputError where the processes cannot share this work."""
    least = team.size * recipe.training.accumulate
    if recipe.data.batch_size < least:
        raise InputError(
            f"data.batch_size is {recipe.data.batch_size}, but there are {team.size} processes "
            f"with {recipe.training.accumulate} parts of a batch each.",
            hint=f"Use --set data.batch_size={least} or more, or fewer processes.",
        )
    team.must_agree(
        "images and labels whose list has the hash",
        images.fingerprint[:12],
        hint="Every machine needs the same data, below the path that is given there.",
    )
