"""Seeds: how strongly each class that an image is labelled with shows at each of its pixels.

As published for BAS segmentation: foreground maps of several scales and of the mirrored image are
added up and divided by their maximum; so are class activation maps; the two are added and divided
by their maximum once more. Here both come from one network, where the published code takes the
activation maps of a second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bas_edge.ops import resize_frame
from bas_edge_training.models import BasModel
from bas_edge_training.validation import evaluation_mode

__all__ = ["SeedOptions", "best_seeds", "seed_maps"]

_EPSILON = 1e-5  # published
_MULTIPLE = 16  # of every side that the network sees


@dataclass(frozen=True, slots=True)
class SeedOptions:
    """How seeds are made.

    Attributes:
        size: Longest side of an image at scale 1, in pixels.
        scales: Published: 1.0, 0.5, 1.5 and 2.0.
        mirrored: Also of the mirrored image.
        activations: Join class activation maps.
    """

    size: int
    scales: tuple[float, ...] = (1.0, 0.5, 1.5, 2.0)
    mirrored: bool = True
    activations: bool = True


def seed_maps(
    model: BasModel,
    pixels: NDArray[np.uint8],
    labels: Sequence[int],
    options: SeedOptions,
    device: torch.device,
) -> NDArray[np.float32]:
    """One map per label, each with maximum 1 (or all 0): float32 [L, H, W].

    Args:
        model: Any mode.
        pixels: uint8 RGB [H, W, 3].
        labels: Class indices, L of them, at least one.
        options: Scales, and what is joined.
        device: Where the model is.
    """
    size = pixels.shape[:2]
    chosen = list(labels)
    foreground = torch.zeros((len(chosen), *size), device=device)
    activation = torch.zeros_like(foreground)
    with evaluation_mode(model):
        for scale in options.scales:
            frames = _frames(pixels, options, scale).to(device)  # [1 or 2, 3, h, w]
            features = model.features(frames)
            maps = torch.sigmoid(model.generator(features)[:, chosen].float())
            foreground += _on_image(maps, size)
            if options.activations:
                cams = F.relu(model.head(model.tail(features.deep))[:, chosen].float())
                activation += _on_image(cams, size)
        fused = _to_one(foreground)
        if options.activations:
            fused = _to_one(fused + _to_one(activation))
    seeds: NDArray[np.float32] = fused.cpu().numpy()
    return seeds


def best_seeds(
    maps: NDArray[np.float32], labels: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The strongest class of each pixel, and how strong it is.

    Args:
        maps: [L, H, W].
        labels: The class index of each map.

    Returns:
        Mask values (index + 1), uint8 [H, W], ties to the first label; strengths, [H, W].
    """
    values = np.asarray(labels, np.uint8) + np.uint8(1)
    return values[maps.argmax(axis=0)], maps.max(axis=0)


def _frames(pixels: NDArray[np.uint8], options: SeedOptions, scale: float) -> Tensor:
    """The image at a scale, and mirrored: uint8 [1 or 2, 3, h, w], sides multiples of 16."""
    zoom = options.size * scale / max(pixels.shape[:2])
    sides = [max(2, round(side * zoom / _MULTIPLE)) * _MULTIPLE for side in pixels.shape[:2]]
    frame = torch.from_numpy(resize_frame(pixels, (sides[0], sides[1]))).permute(2, 0, 1)
    return torch.stack([frame, frame.flip(2)]) if options.mirrored else frame[None]


def _on_image(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps of an image and of its mirror image [1 or 2, L, h, w], added: [L, H, W]."""
    total = maps[0] if len(maps) == 1 else maps[0] + maps[1].flip(2)
    return F.interpolate(total[None], size, mode="bilinear", align_corners=False)[0]


def _to_one(maps: Tensor) -> Tensor:
    """Each of [L, H, W] divided by its maximum, which may be 0."""
    return maps / (maps.amax((1, 2), keepdim=True) + _EPSILON)
