"""Training of a segmenter on pseudo masks, or on true ones: a run folder with a checkpoint out."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bas_edge.errors import InputError
from bas_edge.segmentation import IGNORE, ImageSet, SetImage, read_image_set
from bas_edge_training.batches import Batch, augment
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
from bas_edge_training.run_folder import RunFolder, choose_recipe, claim_folder, read_saved_run
from bas_edge_training.segmentation.data import MultiLabelData, multi_label_data
from bas_edge_training.segmentation.segmenter import SegmenterModel
from bas_edge_training.step_loss import Losses, StepLoss
from bas_edge_training.team import require_alone
from bas_edge_training.trainer import StepFigures, Trainer

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
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> TrainResult:
    """Train a segmenter on the masks of a set, such as those that `make_masks` wrote.

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
        InputError: Data, recipe or output folder cannot be used as given, or a mask cannot be
            read.
        DivergenceError: The loss is not finite; the last good state stays in the folder.
        TrainingInterrupted: Ctrl-C, after saving.
    """
    require_alone("Segmentation")
    folder = RunFolder(Path(output))
    words = ["bas-edge", "train-segmenter", str(data), "--split", split, "-o", str(output)]
    resume_with = shlex.join([*words, "--resume"])
    if start is not None and pretrained is not None:
        raise InputError(
            f"A segmenter begins with the backbone of {start} or with {pretrained}, not with both.",
            hint="Give either --start or --pretrained.",
        )
    saved = read_saved_run(folder) if resume else None
    changes = list(overrides)
    if start is not None and saved is None:
        begun = load_checkpoint(start)
        changes = [*(f"model.{key}={_toml(begun.info.model, key)}" for key in _TAKEN), *changes]
        pretrained = begun.path
    default = None if saved is not None else DEFAULT_RECIPE
    name, chosen = choose_recipe(recipe if recipe is not None else default, changes, saved)
    images = read_image_set(data, split)
    images.require_masks()
    listed = multi_label_data(
        images, fraction=chosen.validation.fraction, seed=chosen.training.seed
    )
    keep_freed_memory()
    with torch_settings(chosen), StopRequest() as stop:
        run = _SegmenterRun(
            _Masks(images, listed),
            folder,
            chosen,
            listed.listed,
            name=name,
            pretrained=None if pretrained is None else str(pretrained),
            start=None,
            saved=saved,
            reporter=reporter or SilentReporter(),
        )
        if saved is None:
            claim_folder(folder, overwrite=overwrite, resume_with=resume_with)
        return run.go(stop, resume_with)


class _Masks:
    """The masks of training and held-out images, by row."""

    def __init__(self, images: ImageSet, data: MultiLabelData) -> None:
        by_path: dict[Path, SetImage] = {image.path: image for image in images.images}
        listed = data.listed
        self.images = [by_path[path] for path in (*listed.paths, *listed.validation_paths)]

    def read(self, row: int, side: int) -> NDArray[np.uint8]:
        """The mask of a row stretched to uint8 [side, side], nearest neighbour."""
        source = self.images[row].mask
        assert source is not None  # require_masks() saw to it
        mask = Image.fromarray(source.read())
        return np.asarray(mask.resize((side, side), Image.Resampling.NEAREST))


class _SegmenterTrainer(Trainer):
    """A trainer of batches that carry rows as labels.

    What reaches the loss instead are masks, int64 [N, H, W], cropped and flipped as images are.
    """

    def __init__(
        self, model: BasModel, recipe: Recipe, device: torch.device, masks: _Masks, steps: int
    ) -> None:
        super().__init__(model, recipe, device)
        self.masks, self.steps = masks, steps
        self.data, self.seed = recipe.data, recipe.training.seed

    def step(self, batch: Batch, number: int, lr_factor: float) -> StepFigures | None:
        epoch = (number - 1) // self.steps
        masks = [self._cropped(row, epoch) for row in batch.labels.tolist()]
        shape = (len(masks), self.data.crop, self.data.crop)
        labels = torch.from_numpy(np.array(masks, np.int64).reshape(shape))
        return super().step(dataclasses.replace(batch, labels=labels), number, lr_factor)

    def _new_losses(self) -> StepLoss:
        return _MaskLoss(self.model)

    def _cropped(self, row: int, epoch: int) -> NDArray[np.uint8]:
        """The mask under the crop that `BatchLoader` drew for this image in this epoch."""
        generator = np.random.default_rng([self.seed, 0, epoch, row])
        mask = self.masks.read(row, self.data.resize)
        return augment(mask, self.data.crop, self.data.flip, generator)


class _MaskLoss(StepLoss):
    """Cross-entropy of pixels, in place of the losses of BAS."""

    def labelled(self, frames: Tensor, labels: Tensor) -> tuple[BasLosses, Tensor]:
        """Labels are masks, int64 [N, H, W]; right is the fraction of the pixels that are."""
        scores = self.model(frames).float()
        scores = F.interpolate(scores, labels.shape[1:], mode="bilinear", align_corners=False)
        counted = labels != IGNORE
        total = F.cross_entropy(scores, labels, ignore_index=IGNORE, reduction="sum")
        total = total / counted.sum().clamp(min=1)
        best = scores.argmax(1)
        right = ((best == labels) & counted).sum((1, 2)) / counted.sum((1, 2)).clamp(min=1)
        none = torch.zeros_like(total)
        losses = BasLosses(total, total, none, none, (best > 0).float().mean(), scores)
        return losses, right

    def weighted(self, means: Losses, weights: LossConfig) -> Tensor:  # noqa: ARG002  (no terms of BAS)
        return means.ce


class _SegmenterRun(Run):
    """A run of a segmenter."""

    def __init__(self, masks: _Masks, *args: Any, **options: Any) -> None:
        self.masks = masks
        super().__init__(*args, **options)

    def _new_trainer(self, model: BasModel) -> Trainer:
        steps = len(self.images.loader)
        segmenter: Any = SegmenterModel(model)
        return _SegmenterTrainer(segmenter, self.recipe, self.device, self.masks, steps)

    def _validate(self) -> dict[str, float]:
        """Pixel accuracy on held-out masks, and how much of the frames is foreground."""
        right, area = [], []
        model, side = self.trainer.result, self.recipe.data.crop
        model.eval()
        for at, row in enumerate(self.data.validation_labels):
            pixels = self.images.held_out.pixels(at)
            if pixels is None:
                continue
            best = _predicted(model, pixels, self.device)
            truth = self.masks.read(row, side)
            right.append(float((best == truth)[truth != IGNORE].mean()))
            area.append(float((best > 0).mean()))
        if not right:
            return {}
        return {"val_top1": float(np.mean(right)), "val_area": float(np.mean(area))}

    def _draw_maps(self) -> None:
        """Nothing is drawn: `bas-edge segment` shows masks."""

    def _finish(self) -> TrainResult:
        self._draw_curves()
        self._save_checkpoint(finished=True, min_score=0.0)
        self.folder.last.unlink(missing_ok=True)
        self._tell_skipped()
        exported = self.folder.path.with_suffix(".onnx")
        return TrainResult(
            folder=self.folder.path,
            checkpoint=self.folder.checkpoint,
            epochs=self.epoch,
            steps=self.number,
            seconds=self.seconds,
            metrics=self.metrics,
            min_score=0.0,
            skipped=self.images.skipped,
            converted=self.images.summary().converted,
            warnings=self.data.warnings,
            next_command=shlex.join(
                ["bas-edge", "export", str(self.folder.path), "-o", str(exported)]
                + ["--overwrite"] * exported.exists()
            ),
        )

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
