"""All terms of a step's loss in one forward, so that torch.compile sees them at once."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bas_edge._require import require
from bas_edge_training.models import BasLosses, BasModel, LossConfig, bas_loss, weighted_loss

__all__ = ["Losses", "StepLoss", "empty_loss", "exchange_statistics"]


class Losses(NamedTuple):
    """Means over the images of one forward; scalars, without weights. See docs/training.md."""

    ce: Tensor
    fg: Tensor
    bas: Tensor
    area: Tensor
    empty: Tensor
    top1: Tensor


class StepLoss(nn.Module):
    """The model and every term of its loss. The weights of the terms change, and stay outside."""

    def __init__(self, model: BasModel) -> None:
        super().__init__()
        self.model = model
        # These exchange statistics inside the forward, so all processes or none have to run it.
        self.synced = any(isinstance(part, nn.SyncBatchNorm) for part in model.modules())

    def forward(
        self, frames: Tensor, labels: Tensor, background: Tensor, with_background: bool
    ) -> Losses:
        """The losses of labelled frames, and `empty_loss` of frames without any object.

        Args:
            frames: uint8 [N, 3, H, W].
            labels: int64 [N].
            background: uint8 [M, 3, H, W].
            with_background: Whether M is above 0 in any process.

        Returns:
            Means. Over nothing (N or M is 0) they are 0.
        """
        nothing = torch.zeros((), device=frames.device)
        ce = fg = bas = area = empty = top1 = nothing
        if len(frames) or self.synced:
            with _precision_for(frames):
                found, right = self.labelled(frames, labels)
            ce, fg, bas, area = found.classification, found.foreground, found.background, found.area
            top1 = right.float().mean()
            if not len(frames):
                ce, fg, bas, area, top1 = (_zeroed(mean) for mean in (ce, fg, bas, area, top1))
        if len(background) or (with_background and self.synced):
            with _precision_for(background):
                empty = empty_loss(*self.model(background))
            if not len(background):
                empty = _zeroed(empty)
        return Losses(ce, fg, bas, area, empty, top1)

    def labelled(self, frames: Tensor, labels: Tensor) -> tuple[BasLosses, Tensor]:
        """The losses of labelled frames, and how right each is, [N], 0 to 1.

        Other tasks have other losses here, and other labels: [N, …].
        """
        found = bas_loss(self.model, frames, labels, LossConfig())
        return found, found.logits.argmax(1) == labels

    def weighted(self, means: Losses, weights: LossConfig) -> Tensor:
        """What labelled frames are to minimise."""
        return weighted_loss(means.ce, means.fg, means.bas, means.area, weights)


def exchange_statistics(model: nn.Module) -> None:
    """Let BatchNorm take its statistics from the batches of all processes: on GPUs only."""
    layers = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    if any(type(layer) is not nn.BatchNorm2d for layer in layers):  # timm's have an activation too
        own = require("timm.layers", extra="timm", purpose="A backbone timm:NAME")
        own.convert_sync_batchnorm(model)
    else:
        convert = nn.SyncBatchNorm.convert_sync_batchnorm
        convert(model)  # type: ignore[no-untyped-call]  # untyped in torch


def _precision_for(frames: Tensor) -> AbstractContextManager[object]:
    """No autocast over no frames.

    SyncBatchNorm sends the statistics of some frames as float32, whatever their precision, but
    those of none in the precision that they would have had: processes would wait for other sizes.
    """
    if len(frames):
        return nullcontext()
    return torch.autocast(frames.device.type, enabled=False)


def _zeroed(mean: Tensor) -> Tensor:
    """0 for a mean over nothing, which is NaN; its gradients are 0."""
    return mean.nan_to_num()


def empty_loss(logits: Tensor, maps: Tensor) -> Tensor:
    """What images without any object should bring to 0: no class stands out, every map is empty.

    Args:
        logits: [M, C].
        maps: [M, C, h, w] in (0, 1).

    Returns:
        The divergence of softmax(logits) from uniform, plus the mean of the maps; a scalar.
    """
    spread = -F.log_softmax(logits.float(), 1).mean() - math.log(logits.shape[1])
    return spread + maps.float().mean()
