"""BAS with several labels an image, as published for segmentation (arXiv 2309.12943, section 3.5).

    L = CE_multi(S) + 0.2 * CE(S_fg) + L_bas + 1.2 * area

CE_multi compares each present class with the absent ones alone, so that present classes do not
compete. The three terms with a map are of one present class per image and step, drawn at random.
Unlike BAS for localization, S_fg leaves the class activation maps alone: its gradient reaches the
foreground map and nothing else.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bas_edge_training.models import BasLosses, BasModel, LossConfig, erased_logits

__all__ = ["multi_label_cross_entropy", "multi_label_loss"]

_EPSILON = 1e-8  # published
_NOTHING = -1e30  # exp() of it is 0, and its gradient is finite


def multi_label_cross_entropy(logits: Tensor, present: Tensor) -> Tensor:
    """Sum over present classes of CE over [that class, all absent classes]; mean over images.

    Args:
        logits: [N, C].
        present: bool [N, C].

    Returns:
        A scalar. An image in which every class is present adds 0.
    """
    absent = torch.logsumexp(logits.masked_fill(present, _NOTHING), 1, keepdim=True)  # [N, 1]
    each = F.softplus(absent - logits) * present  # -log(e^s / (e^s + sum of absent e^a))
    return each.sum(1).mean()


def multi_label_loss(
    model: BasModel, frames: Tensor, present: Tensor, chosen: Tensor, config: LossConfig
) -> BasLosses:
    """Losses of one batch.

    Args:
        model: In training mode.
        frames: RGB pixels 0 to 255, [N, 3, H, W], any dtype.
        present: Which classes are in each image, bool [N, C].
        chosen: One of them for the terms with a map, int64 [N].
        config: The weights; published for segmentation: alpha 0.2, beta 1.2.
    """
    features = model.features(frames)  # [N, channels, h, w]
    class_maps = model.head(model.tail(features.deep)).float()  # [N, C, h', w']
    logits = class_maps.mean((2, 3))  # [N, C]
    rows = torch.arange(len(chosen), device=chosen.device)
    foreground = torch.sigmoid(model.generator(features)[rows, chosen].float())  # [N, h, w]
    foreground = foreground.unsqueeze(1)  # [N, 1, h, w]

    erased = features.deep.detach() * (1 - foreground)
    left = F.relu(erased_logits(model, erased)[rows, chosen])  # [N]
    score = F.relu(logits[rows, chosen]).detach()  # [N]
    ratio = torch.where(left > score, torch.ones_like(left), left / (score + _EPSILON))

    weights = F.adaptive_avg_pool2d(foreground, class_maps.shape[-2:])  # [N, 1, h', w']
    seen = F.cross_entropy((class_maps.detach() * weights).mean((2, 3)), chosen)
    classification = multi_label_cross_entropy(logits, present)
    background, area = ratio.mean(), foreground.mean()
    total = classification + config.alpha * seen
    total = total + config.suppression * background + config.beta * area
    return BasLosses(total, classification, seen, background, area, logits)
