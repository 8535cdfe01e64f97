"""The baseline of `train_step`: what costs time in the authors' training loop, around our layers.

Facts of the released code (wpy1999/BAS, CUB/train.py and CUB/Model): each step copies tail and head
with `deepcopy` for the erase branch, so that gradients of the copies are computed too and thrown
away; the label's score, map and erased score are taken image by image in Python loops; tensors
have PyTorch's default layout; frames come as normalised float32.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bas_edge_training.models import BasModel

__all__ = ["PublishedLoop", "PublishedLosses"]


class PublishedLosses(NamedTuple):
    """Of one batch, on the host."""

    ce: float
    fg: float
    bas: float
    area: float


class PublishedLoop:
    """Model and optimizer in a loop as released; `alpha` and `beta` weigh CE(S_fg) and the area."""

    def __init__(
        self, model: BasModel, optimizer: torch.optim.Optimizer, *, alpha: float, beta: float
    ) -> None:
        self.model, self.optimizer = model.train(), optimizer
        self.alpha, self.beta = alpha, beta

    def step(self, images: Tensor, labels: Tensor) -> PublishedLosses:
        """One step on normalised images [N, 3, H, W] and labels [N], both on the device."""
        self.optimizer.zero_grad()
        copied_tail = copy.deepcopy(self.model.tail)
        copied_head = copy.deepcopy(self.model.head)
        features = self.model.trunk(images)
        class_maps = self.model.head(self.model.tail(features.deep.clone()))
        scores = class_maps.mean((2, 3))
        all_maps = torch.sigmoid(self.model.generator(features))
        foreground = all_maps.new_zeros(len(images), 1, *all_maps.shape[2:])
        own_score = scores.new_zeros(len(images))
        for at in range(len(images)):
            own_score[at] = scores[at][labels[at]]
            foreground[at][0] = all_maps[at][labels[at]]
        erased = copied_head(copied_tail(features.deep.detach() * (1 - foreground))).mean((2, 3))
        erased_score = scores.new_zeros(len(images))
        for at in range(len(images)):
            erased_score[at] = erased[at][labels[at]]
        pooled = F.adaptive_avg_pool2d(foreground, class_maps.shape[2:])
        ce = F.cross_entropy(scores, labels)
        fg = F.cross_entropy((class_maps * pooled).mean((2, 3)), labels)
        whole = own_score.clone().detach()
        ratio = erased_score / (whole + 1e-8)
        ratio[erased_score > whole] = 1
        bas, area = ratio.mean(), foreground.mean()
        (ce + self.alpha * fg + bas + self.beta * area).backward()
        self.optimizer.step()
        return PublishedLosses(ce.item(), fg.item(), bas.item(), area.item())
