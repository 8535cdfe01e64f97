"""Training from end to end: labelled images in, a run folder with a checkpoint out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from bas_edge.errors import InputError
from bas_edge_training.data import read_training_data
from bas_edge_training.machine import StopRequest, keep_freed_memory, torch_settings
from bas_edge_training.progress import Reporter, SilentReporter
from bas_edge_training.qat_start import read_qat_start
from bas_edge_training.recipe import Recipe
from bas_edge_training.results import TrainingInterrupted, TrainResult
from bas_edge_training.run import Run
from bas_edge_training.run_folder import (
    RunFolder,
    choose_recipe,
    claim_folder,
    read_saved_run,
    resume_command,
)

__all__ = ["TrainResult", "TrainingInterrupted", "train"]


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
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> TrainResult:
    """Train a localizer from image labels.

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
        resume: Go on with the unfinished run in `output`.
        overwrite: Replace the run in `output`.
        reporter: Told about every step; None is silent.

    Raises:
        InputError: Data, recipe or output folder cannot be used as given.
        DivergenceError: The loss is not finite; the last good state stays in the folder.
        TrainingInterrupted: Ctrl-C, after saving.
    """
    data, folder = Path(data), RunFolder(Path(output))
    validation = None if validation is None else Path(validation)
    background = None if background is None else Path(background)
    resume_with = resume_command(
        data,
        folder.path,
        {
            "--split": split,
            "--validation": validation,
            "--validation-split": validation_split,
            "--background": background,
        },
    )
    if qat is not None and pretrained is not None:
        raise InputError(
            "A quantization-aware run begins with its checkpoint, not with pretrained weights.",
            hint="Give either --qat or --pretrained.",
        )
    saved = read_saved_run(folder) if resume else None
    if qat is not None and saved is not None and saved.state.trained_ranges is msgspec.UNSET:
        raise InputError(
            f"The run in {folder.path} began without --qat.",
            hint="Resume it without, and start a quantization-aware one from its checkpoint.",
        )
    start = None if qat is None or saved is not None else read_qat_start(qat)
    if start is None:
        name, chosen = choose_recipe(recipe, overrides, saved)
    else:
        name, chosen = start.recipe(recipe, overrides)
    images = read_training_data(
        data,
        split=split,
        validation=validation,
        validation_split=validation_split,
        validation_fraction=chosen.validation.fraction,
        background=background,
        seed=chosen.training.seed,
    )
    keep_freed_memory()
    with torch_settings(chosen), StopRequest() as stop:
        run = Run(
            folder,
            chosen,
            images,
            name=name,
            pretrained=None if pretrained is None else str(pretrained),
            start=start,
            saved=saved,
            reporter=reporter or SilentReporter(),
        )
        if saved is None:
            claim_folder(folder, overwrite=overwrite, resume_with=resume_with)
        return run.go(stop, resume_with)
