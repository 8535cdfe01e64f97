"""Score-CAM: each channel weighs as much as the class keeps of its score where the channel is high.

Wang et al., CVPR Workshops 2020, arXiv 1910.01279, algorithm 1. A forward pass for each of D
channels of each image, so it is for evaluation of a few images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bas_edge_training.models import BasModel

from .activations import Activations, Layer

__all__ = ["score_cam_at"]

_BATCH = 32  # masked frames in one pass


def score_cam_at(layer: Layer, seen: Activations, classes: Tensor) -> Tensor:
    """ReLU(sum over k of a_k * A_k): [N, h, w].

    a is the softmax over channels of S_c(X * H_k) - S_c(X_b), where H_k is A_k stretched to the
    frame (bilinear) and scaled to 0..1, and S_c the logit. The baseline X_b adds the same to every
    channel, which the softmax does not see. X is the frame as the backbone gets it, normalised:
    what a mask hides becomes the mean colour. A flat channel hides everything.
    """
    maps = [
        _weighted(seen.model, frame, features, label)
        for frame, features, label in zip(
            seen.frames, seen.at(layer), classes.tolist(), strict=True
        )
    ]
    return torch.stack(maps)


def _weighted(model: BasModel, frame: Tensor, features: Tensor, label: int) -> Tensor:
    """One image: [3, H, W], features [D, h, w] -> [h, w]."""
    mean = torch.tensor(model.config.conventions.mean, device=frame.device).view(3, 1, 1)
    pixels = frame.float() - mean  # what a mask multiplies: 0 is the mean colour
    scores = []
    for at in range(0, len(features), _BATCH):
        some = features[at : at + _BATCH]
        grown = F.interpolate(
            some[:, None], size=frame.shape[-2:], mode="bilinear", align_corners=False
        )
        low, high = grown.amin((2, 3), keepdim=True), grown.amax((2, 3), keepdim=True)
        masks = torch.where(high > low, (grown - low) / (high - low).clamp(min=1e-30), 0.0)
        masked = Activations(model, masks * pixels + mean)
        scores.append(masked.logits[:, label])
    weights = torch.cat(scores).softmax(0)
    return F.relu((weights[:, None, None] * features).sum(0))
