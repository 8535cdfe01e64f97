"""Training of a segmenter on pseudo masks, or on true ones: a run folder with a checkpoint out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bas_edge.errors import InputError
from bas_edge.segmentation import IGNORE, SetImage, read_image_set
from bas_edge_training.batches import Batch
from bas_edge_training.checkpoint import (
    CheckpointInfo,
    fill,
    load_checkpoint,
    load_weights,
)
from bas_edge_training.machine import StopRequest, keep_freed_memory, torch_settings
from bas_edge_training.models import BasLosses, BasModel, LossConfig, ModelConfig, build_model
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
from bas_edge_training.run_images import RunImages
from bas_edge_training.segmentation.data import multi_label_data
from bas_edge_training.segmentation.masked_images import MaskedImages
from bas_edge_training.segmentation.segmenter import SegmenterModel
from bas_edge_training.step_loss import Losses, StepLoss
from bas_edge_training.team import join_team, launched_team
from bas_edge_training.trainer import StepFigures, Trainer
from bas_edge_training.training import check_team

__all__ = ["DEFAULT_RECIPE", "TrainedSegmenter", "load_segmenter", "train_segmenter"]

DEFAULT_RECIPE = "segmenter"
_TAKEN = ("architecture", "width", "head", "map_stride", "atrous", "centred", "norm")  # of a start


@dataclass(frozen=True, slots=True)
class TrainedSegmenter:
    """A trained segmenter in evaluation mode, with its description."""

    path: Path
    model: SegmenterModel
    info: CheckpointInfo


def load_segmenter(path: str | Path) -> TrainedSegmenter:
    """Read the checkpoint of a segmenter; `path` is the file or the run folder that holds it.

    Raises:
        InputError: No such file, not a segmenter of ours, or its weights do not fit.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoint.safetensors"
    tensors, info = load_weights(path)
    if info.task is msgspec.UNSET:
        raise InputError(
            f"{path} is the checkpoint of a BAS model, not of a segmenter.",
            hint="Give the run of bas-edge train-segmenter.",
        )
    model = SegmenterModel(build_model(info.model))
    fill(model, tensors, path)
    return TrainedSegmenter(path, model.eval(), info)


def train_segmenter(
    data: str | Path,
    output: str | Path,
    recipe: Recipe | str | Path | None = None,
    *,
    split: str = "train",
    start: str | Path | None = None,
    pretrained: str | Path | None = None,
    overrides: Iterable[str] = (),
    resume: bool | Literal["auto"] = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> TrainResult:
    """Train a segmenter on the masks of a set, such as those that `make_masks` wrote.

    Images without any class are trained on like the others. One whose mask cannot be read, or is of
    another size, is skipped. Processes that torchrun has started train one model together, as in
    `train`.

    Args:
        data: See `read_image_set`; every image of the split has a mask.
        output: The run folder to create.
        recipe: A recipe, its installed name, or its file; None is "segmenter", on a resume the
            recipe that the run began with. Of its `[loss]` nothing is used.
        split: Which images of `data`.
        start: The BAS run whose backbone to begin with; what its model is, this one is too.
            Unused on a resume.
        pretrained: Backbone weights instead: a path, or a URL followed by #sha256=…
        overrides, resume, overwrite, reporter: As in `train`.

    Raises:
        InputError: Data, recipe or output folder cannot be used as given.
        DivergenceError: The loss is not finite; the last good state stays in the folder.
        TrainingInterrupted: Ctrl-C or SIGTERM, in any process, after saving.
        PeerError: Another process has failed.
    """
    data, folder, given = Path(data), RunFolder(Path(output)), list(overrides)
    if start is not None and pretrained is not None:
        raise InputError(
            f"A segmenter begins with the backbone of {start} or with {pretrained}, not with both.",
            hint="Give either --start or --pretrained.",
        )

    def begin() -> tuple[SavedRun | None, str, Recipe, str | None]:
        saved, changes, weights = run_to_resume(folder, resume), given, pretrained
        if start is not None and saved is None:
            begun = load_checkpoint(start)
            taken = (f"model.{key}={_toml(begun.info.model, key)}" for key in _TAKEN)
            changes, weights = [*taken, *given], begun.path
        default = None if saved is not None else DEFAULT_RECIPE
        used = recipe if recipe is not None else default
        name, chosen = choose_recipe(used, changes, saved, "segmenter")
        return saved, name, chosen, None if weights is None else str(weights)

    stop = StopRequest(launched_team())
    early, later = stop.entries()
    with early, join_team() as team:
        if resume == "auto" and (ended := team.once(lambda: read_finished_run(folder, _described))):
            return ended
        saved, name, chosen, weights = team.once(begin)
        images = read_image_set(data, split)
        images.require_masks()
        fraction, seed = chosen.validation.fraction, chosen.training.seed
        listed = multi_label_data(images, fraction=fraction, seed=seed, masks=True).listed
        check_team(team, chosen, listed)
        keep_freed_memory()
        resume_with = resume_command(
            data, folder.path, {"--split": split}, team.local_size, verb="train-segmenter"
        )
        with torch_settings(chosen, team), later:
            run = _SegmenterRun(
                {image.path: image for image in images.images},
                folder,
                chosen,
                listed,
                name=name,
                pretrained=weights,
                start=None,
                saved=saved,
                reporter=reporter or SilentReporter(),
                team=team,
            )
            if saved is None:
                replace = overwrite or resume == "auto"
                team.once(lambda: claim_folder(folder, overwrite=replace, resume_with=resume_with))
            return run.go(stop, resume_with)


def _described(path: Path) -> CheckpointInfo:
    return load_segmenter(path).info


class _SegmenterTrainer(Trainer):
    """A trainer of batches whose frames have their masks as a fourth channel."""

    def step(self, batch: Batch, number: int, lr_factor: float) -> StepFigures | None:
        frames, masks = batch.frames[..., :3].contiguous(), batch.frames[..., 3:]
        labels = masks.reshape(frames.shape[:3]).to(torch.int64)  # [N, H, W]
        batch = dataclasses.replace(batch, frames=frames, labels=labels)
        return super().step(batch, number, lr_factor)

    def _new_losses(self) -> StepLoss:
        return _MaskLoss(self.model)


class _MaskLoss(StepLoss):
    """Cross-entropy of pixels, in place of the losses of BAS.

    The mean over images of the mean over those pixels of each that count: what a batch is divided
    into, by processes or for memory, changes nothing.
    """

    def labelled(self, frames: Tensor, labels: Tensor) -> tuple[BasLosses, Tensor]:
        """Labels are masks, int64 [N, H, W]; right is the fraction of the pixels that are."""
        scores = self.model(frames).float()
        scores = F.interpolate(scores, labels.shape[1:], mode="bilinear", align_corners=False)
        counted = labels != IGNORE
        pixels = counted.sum((1, 2)).clamp(min=1)  # [N]
        each = F.cross_entropy(scores, labels, ignore_index=IGNORE, reduction="none")  # [N, H, W]
        total = (each.sum((1, 2)) / pixels).mean()
        best = scores.argmax(1)
        right = ((best == labels) & counted).sum((1, 2)) / pixels
        none = torch.zeros_like(total)
        losses = BasLosses(total, total, none, none, (best > 0).float().mean(), scores)
        return losses, right

    def weighted(self, means: Losses, weights: LossConfig) -> Tensor:  # noqa: ARG002  (no terms of BAS)
        return means.ce


class _SegmenterRun(Run):
    """A run of a segmenter."""

    def __init__(self, masks: dict[Path, SetImage], *args: Any, **options: Any) -> None:
        self.masks = masks
        super().__init__(*args, **options)

    def _new_images(self) -> RunImages:
        store = functools.partial(MaskedImages, self.masks)
        return RunImages(self.data, self.recipe, self.team, store=store)

    def _new_trainer(self, model: BasModel) -> Trainer:
        segmenter: Any = SegmenterModel(model)
        return _SegmenterTrainer(segmenter, self.recipe, self.device, self.team)

    def _validate(self) -> dict[str, float]:
        """Pixel accuracy on held-out masks, and how much of the frames is foreground."""
        right, area, images = 0.0, 0.0, 0
        model, held_out = self.trainer.result, self.images.held_out
        model.eval()
        for at in range(self.team.rank, len(held_out), self.team.size):
            pixels = held_out.pixels(at)
            if pixels is None or (pixels[..., 3] == IGNORE).all():
                continue
            best, truth = _predicted(model, pixels[..., :3], self.device), pixels[..., 3]
            right += float((best == truth)[truth != IGNORE].mean())
            area += float((best > 0).mean())
            images += 1
        right, area, count = self.team.total([right, area, images])
        return {"val_top1": right / count, "val_area": area / count} if count else {}

    def _draw_maps(self) -> None:
        """Nothing is drawn: `bas-edge segment` shows masks."""

    def _doubts(self) -> tuple[str, ...]:
        return ()  # the figures of BAS, which they are about, are not there

    def _finish(self) -> TrainResult:
        return self.team.once(lambda: self._write_result(min_score=0.0))

    def _described(self, info: CheckpointInfo) -> CheckpointInfo:
        return msgspec.structs.replace(info, task="segmentation")


@torch.no_grad()
def _predicted(model: Any, pixels: NDArray[np.uint8], device: torch.device) -> NDArray[np.int64]:
    """The best class of each pixel of a frame of network size: [H, W]."""
    frame = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device)
    scores = F.interpolate(model(frame), pixels.shape[:2], mode="bilinear", align_corners=False)
    best: NDArray[np.int64] = scores[0].argmax(0).cpu().numpy()
    return best


def _toml(model: ModelConfig, key: str) -> str:
    value = getattr(model, key)
    return str(value).lower() if isinstance(value, bool) else str(value)
