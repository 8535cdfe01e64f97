"""Multi-label BAS from end to end: labelled images in, a run folder with a checkpoint out."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bas_edge.segmentation import read_image_set
from bas_edge_training.batches import Batch
from bas_edge_training.machine import StopRequest, keep_freed_memory, torch_settings
from bas_edge_training.models import BasLosses, BasModel, LossConfig
from bas_edge_training.progress import Reporter, SilentReporter
from bas_edge_training.recipe import Recipe
from bas_edge_training.results import TrainResult
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
from bas_edge_training.segmentation.data import MultiLabelData, multi_label_data
from bas_edge_training.segmentation.losses import multi_label_loss
from bas_edge_training.step_loss import StepLoss
from bas_edge_training.team import ALONE, Team, join_team, launched_team
from bas_edge_training.trainer import StepFigures, Trainer
from bas_edge_training.training import check_team
from bas_edge_training.validation import predict

__all__ = ["DEFAULT_RECIPE", "MultiLabelTrainer", "chosen_classes", "train_multi_label"]

DEFAULT_RECIPE = "segmentation"
_CHOICE = 0x0C1A  # of a class per image and step: a stream of random numbers of its own


def train_multi_label(
    data: str | Path,
    output: str | Path,
    recipe: Recipe | str | Path | None = None,
    *,
    split: str = "train",
    pretrained: str | Path | None = None,
    overrides: Iterable[str] = (),
    resume: bool | Literal["auto"] = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> TrainResult:
    """Train BAS on images that have several labels each; masks are not looked at.

    Images without any class join each step as images without any object (docs/training.md).
    Processes that torchrun has started train one model together, as in `train`.

    Args:
        data: A VOC 2012, COCO or index folder (`bas_edge.segmentation.read_image_set`).
        output: The run folder to create.
        recipe: A recipe, its installed name, or its file; None is "segmentation", on a resume
            the recipe that the run began with.
        split: Which images of `data`.
        pretrained: Backbone weights: a path, or a URL followed by #sha256=… Unused on a resume.
        overrides, resume, overwrite, reporter: As in `train`.

    Raises:
        InputError: Data, recipe or output folder cannot be used as given.
        DivergenceError: The loss is not finite; the last good state stays in the folder.
        TrainingInterrupted: Ctrl-C or SIGTERM, in any process, after saving.
        PeerError: Another process has failed.
    """
    data, folder, changes = Path(data), RunFolder(Path(output)), list(overrides)
    seeds = folder.path.with_name(f"{folder.path.name}_masks")
    words = ["bas-edge", "seeds", str(folder.path), str(data), "--split", split, "-o", str(seeds)]

    def begin() -> tuple[SavedRun | None, str, Recipe]:
        saved = run_to_resume(folder, resume)
        default = None if saved is not None else DEFAULT_RECIPE
        given = recipe if recipe is not None else default
        return saved, *choose_recipe(given, changes, saved, "segmentation")

    stop = StopRequest(launched_team())
    early, later = stop.entries()
    with early, join_team() as team:
        if resume == "auto" and (ended := team.once(lambda: read_finished_run(folder))):
            return dataclasses.replace(ended, next_command=shlex.join(words))
        saved, name, chosen = team.once(begin)
        images = multi_label_data(
            read_image_set(data, split),
            fraction=chosen.validation.fraction,
            seed=chosen.training.seed,
        )
        check_team(team, chosen, images.listed)
        keep_freed_memory()
        options = {"--task": "segmentation", "--split": split}
        resume_with = resume_command(data, folder.path, options, team.local_size)
        with torch_settings(chosen, team), later:
            run = _MultiLabelRun(
                images,
                folder,
                chosen,
                images.listed,
                name=name,
                pretrained=None if pretrained is None else str(pretrained),
                start=None,
                saved=saved,
                reporter=reporter or SilentReporter(),
                team=team,
            )
            if saved is None:
                replace = overwrite or resume == "auto"
                team.once(lambda: claim_folder(folder, overwrite=replace, resume_with=resume_with))
            result = run.go(stop, resume_with)
    return dataclasses.replace(result, next_command=shlex.join(words))


class MultiLabelTrainer(Trainer):
    """A trainer of batches that carry rows of `present` as labels.

    What reaches the loss instead are int64 [N, 1 + C]: the class that was drawn, then 1 for each
    class that is present.
    """

    def __init__(
        self,
        model: BasModel,
        recipe: Recipe,
        device: torch.device,
        present: Tensor,
        team: Team = ALONE,
    ) -> None:
        super().__init__(model, recipe, device, team)
        self.present = present
        self.seed = recipe.training.seed

    def step(self, batch: Batch, number: int, lr_factor: float) -> StepFigures | None:
        present = self.present[batch.labels]  # [N, C]
        chosen = chosen_classes(present, batch.labels, self.seed, number)  # [N]
        labels = torch.cat((chosen[:, None], present.to(torch.int64)), 1)
        return super().step(dataclasses.replace(batch, labels=labels), number, lr_factor)

    def _new_losses(self) -> StepLoss:
        return _MultiLabelLoss(self.model)


class _MultiLabelLoss(StepLoss):
    """Losses of the labels that `MultiLabelTrainer` makes."""

    def labelled(self, frames: Tensor, labels: Tensor) -> tuple[BasLosses, Tensor]:
        """Right is whose best class is in the image."""
        chosen, present = labels[:, 0], labels[:, 1:]
        found = multi_label_loss(self.model, frames, present.bool(), chosen, LossConfig())
        return found, present.gather(1, found.logits.argmax(1, True))[:, 0]


def chosen_classes(present: Tensor, rows: Tensor, seed: int, number: int) -> Tensor:
    """One present class per image: int64 [N], a function of (seed, step, row) alone.

    Args:
        present: bool [N, C], at least one in each row.
        rows: int64 [N], which image each is.
        seed: Of the run.
        number: The step.
    """
    chosen = []
    for own, row in zip(present, rows.tolist(), strict=True):
        candidates = own.nonzero().flatten()
        generator = np.random.default_rng([seed, _CHOICE, number, row])
        chosen.append(int(candidates[int(generator.integers(len(candidates)))]))
    return torch.tensor(chosen, dtype=torch.int64)


class _MultiLabelRun(Run):
    """A run whose labels are rows of `data.present`."""

    def __init__(self, multi: MultiLabelData, *args: Any, **options: Any) -> None:
        self.multi = multi
        super().__init__(*args, **options)
        firsts = multi.firsts
        self.images.sample_labels = tuple(firsts[row] for row in self.images.sample_labels)

    def _new_trainer(self, model: BasModel) -> Trainer:
        return MultiLabelTrainer(model, self.recipe, self.device, self.multi.present, self.team)

    def _validate(self) -> dict[str, float]:
        batch_size, held_out = self.recipe.data.batch_size, self.images.held_out
        found = predict(self.trainer.result, held_out, self.device, batch_size, self.team)
        if not len(found.indices):
            return {}
        rows = np.asarray(self.data.validation_labels)[found.indices]
        right = self.multi.present.numpy()[rows, found.classes]
        return {"val_top1": float(right.mean()), "val_area": float(found.areas.mean())}
