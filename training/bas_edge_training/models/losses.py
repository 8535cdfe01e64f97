"""The Activation Map Constraint of BAS, as published (arXiv 2112.00580 eq. 1-6; 2309.12943).

    L = CE(S) + alpha * CE(S_fg) + L_bas + beta * area
    L_bas = mean over images of min(1, relu(S_bg) / (relu(S) + 1e-8))

S are the logits of the whole image, S_fg those of the class activation maps weighted by the
foreground map, and S_bg the label's logit after the foreground was erased from the features.
S is a constant in L_bas, and so are the weights and features of the erase branch: the only way
to make L_bas smaller is a better map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from .bas import BasModel

__all__ = ["BasLosses", "LossConfig", "bas_loss", "erased_logits", "weighted_loss"]

_EPSILON = 1e-8  # published


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights of the loss. Published for MobileNetV1 on CUB: alpha 0.5, beta 1.9.

    `suppression` is that of L_bas, which has none in the paper: 1.
    """

    alpha: float = 0.5
    beta: float = 1.9
    suppression: float = 1.0


@dataclass(frozen=True, slots=True)
class BasLosses:
    """One batch's losses; every scalar is a mean over the batch, before its weight.

    Attributes:
        total: What to minimise.
        classification: CE(S).
        foreground: CE(S_fg).
        background: L_bas, 0 to 1.
        area: Mean of the label's map, 0 to 1.
        logits: [N, C], S for every class.
    """

    total: Tensor
    classification: Tensor
    foreground: Tensor
    background: Tensor
    area: Tensor
    logits: Tensor


def bas_loss(model: BasModel, frames: Tensor, labels: Tensor, config: LossConfig) -> BasLosses:
    """Losses of one labelled batch.

    Args:
        model: In training mode.
        frames: RGB pixels 0 to 255, [N, 3, H, W], any dtype.
        labels: Class indices, int64 [N].
        config: The weights.
    """
    features = model.features(frames)  # [N, channels, h, w]
    class_maps = model.head(model.tail(features.deep)).float()  # [N, C, h/2, w/2]
    logits = class_maps.mean((2, 3))  # [N, C]
    rows = torch.arange(len(labels), device=labels.device)
    foreground = torch.sigmoid(model.generator(features)[rows, labels].float())  # [N, h, w]
    foreground = foreground.unsqueeze(1)  # [N, 1, h, w]

    erased = features.deep.detach() * (1 - foreground)
    background_score = F.relu(erased_logits(model, erased)[rows, labels])  # [N]
    score = F.relu(logits[rows, labels]).detach()  # [N]
    ratio = background_score / (score + _EPSILON)
    ratio = torch.where(background_score > score, torch.ones_like(ratio), ratio)

    weights = F.adaptive_avg_pool2d(foreground, class_maps.shape[-2:])  # [N, 1, h/2, w/2]
    classification = F.cross_entropy(logits, labels)
    seen = F.cross_entropy((class_maps * weights).mean((2, 3)), labels)
    background = ratio.mean()
    area = foreground.mean()
    total = weighted_loss(classification, seen, background, area, config)
    return BasLosses(total, classification, seen, background, area, logits)


def weighted_loss(
    classification: Tensor, foreground: Tensor, background: Tensor, area: Tensor, config: LossConfig
) -> Tensor:
    """What to minimise: four scalars as in `BasLosses`, weighted."""
    total = classification + config.alpha * foreground
    return total + config.suppression * background + config.beta * area


def erased_logits(model: BasModel, features: Tensor) -> Tensor:
    """[N, channels, h, w] -> logits [N, C] through a frozen copy of tail and head.

    The weights are the model's own, detached: gradients reach `features` and nothing else.
    BatchNorm statistics are cloned, so that erased images never enter the running averages.
    """
    return _frozen(model.head, _frozen(model.tail, features)).float().mean((2, 3))


def _frozen(module: nn.Module, x: Tensor) -> Tensor:
    state = {name: value.detach() for name, value in module.named_parameters()}
    state |= {name: value.clone() for name, value in module.named_buffers()}
    return functional_call(module, state, (x,))
