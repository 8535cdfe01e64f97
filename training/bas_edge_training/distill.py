"""Where every class is averaged, the runtime needs one map: distil it into a small generator.

The mean over classes of sigmoid(conv_c(G)) is no single sigmoid, but generators of one data set
agree so much that a weighted mean of J << C sigmoids reproduces it. Classes are clustered by
what their maps look like on real images; each cluster starts as one filter, the mean of its
members', with a share of its size; a short fit on cached features does the rest. J doubles until
the boxes of held-out images agree with room to spare.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge_training.mean_generator import MeanGenerator, mean_map, reading
from bas_edge_training.models import BasModel
from bas_edge_training.parity import box_agreement

__all__ = ["MIN_BOX_IOU", "Distillation", "distil"]

MIN_BOX_IOU = 0.98  # mean over held-out images; below it the mean map is refused
_AIM = 0.995  # filters are cheap: take more until the bound is cleared with room
_HELD_OUT = 4  # every fourth image is never fitted
_BATCH = 8
_STEPS = 300
_LEARNING_RATE = 0.05  # of the root mean square of each tensor
_CLUSTER_STEPS = 20


@dataclass(frozen=True, slots=True)
class Distillation:
    """A fitted generator and how well it stands in for the mean of all class maps.

    Attributes:
        generator: The best fit.
        layer: Name of the convolution that it replaces.
        images, held_out: Frames used for the fit, and frames used only to measure it.
        box_iou: Mean IoU of the boxes on the held-out frames.
        max_abs_error: Of the map, on the held-out frames.
    """

    generator: MeanGenerator
    layer: str
    images: int
    held_out: int
    box_iou: float
    max_abs_error: float

    @property
    def accepted(self) -> bool:
        return self.box_iou >= MIN_BOX_IOU

    @property
    def parts(self) -> int:
        """J, the sigmoids whose weighted mean is the map."""
        return len(self.generator.share)


def distil(
    model: BasModel,
    layer: str,
    frames: NDArray[np.uint8],
    *,
    threshold: ThresholdPolicy,
    report: Callable[[str], None] = lambda _line: None,
) -> Distillation:
    """Fit the smallest mean generator whose boxes agree with those of the mean of all maps.

    Deterministic on one machine. Stops at the first J whose held-out boxes agree well (0.995), or
    at half the classes, beyond which nothing is gained, with the best; the caller looks at
    `accepted` (0.98).

    Args:
        model: In eval mode.
        layer: The generator's last convolution, from features to class maps.
        frames: Real images, uint8 [M, H, W, 3] at network size; at least 8.
        threshold: Where the runtime will cut the maps.
        report: Called with one line per J.
    """
    features, target, profiles = _observe(model, layer, frames)
    held_out = np.arange(len(frames)) % _HELD_OUT == _HELD_OUT - 1
    fitted, unseen = torch.from_numpy(~held_out), torch.from_numpy(held_out)
    expected = target[unseen][:, 0].numpy()  # [M', h, w]
    conv = model.get_submodule(layer)
    assert isinstance(conv, nn.Conv2d)
    best: Distillation | None = None
    parts = 1
    while best is None or parts <= conv.out_channels // 2:
        start = _clustered(conv, profiles, parts)
        generator = _fit(start, features[fitted], target[fitted])
        with torch.no_grad():
            got = mean_map(generator, features[unseen])[:, 0].numpy()
        iou = box_agreement(got, expected, size=frames.shape[1:3], threshold=threshold)
        found = Distillation(
            generator, layer, int(fitted.sum()), int(unseen.sum()), float(iou.mean()),
            float(np.abs(got - expected).max()),
        )  # fmt: skip
        report(f"mean map from {parts} of {conv.out_channels} filters: box IoU {found.box_iou:.4f}")
        if best is None or found.box_iou > best.box_iou:
            best = found
        if found.box_iou >= _AIM:
            break
        parts *= 2
    return best


def _observe(
    model: BasModel, layer: str, frames: NDArray[np.uint8]
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of `layer` [M, channels, h, w], mean maps [M, 1, h, w], class profiles [C, cells]."""
    inputs, means, profiles = [], [], []
    with torch.no_grad(), reading(model, layer) as seen:
        for at in range(0, len(frames), _BATCH):
            pixels = torch.from_numpy(frames[at : at + _BATCH]).permute(0, 3, 1, 2)
            maps = torch.sigmoid(model.generator(model.features(pixels)))  # [n, C, h, w]
            inputs.append(seen.pop())
            means.append(maps.mean(1, keepdim=True))
            profiles.append(maps[:, :, 1::4, 1::4].transpose(0, 1).flatten(1))
    return torch.cat(inputs), torch.cat(means), torch.cat(profiles, 1)


def _clustered(conv: nn.Conv2d, profiles: Tensor, parts: int) -> MeanGenerator:
    """k-means over the classes' maps; one filter per cluster, the mean of its members'."""
    nearest = _farthest_first(profiles, parts)
    for _ in range(_CLUSTER_STEPS):
        members = F.one_hot(nearest, parts).T.to(profiles)  # [J, C]
        centres = members @ profiles / members.sum(1, keepdim=True).clamp(min=1)
        nearest = torch.cdist(profiles, centres).argmin(1)
    members = F.one_hot(nearest, parts).T.to(profiles)
    sizes = members.sum(1)
    mixing = members / sizes.clamp(min=1)[:, None]  # [J, C]
    weight, bias = conv.weight.detach(), conv.bias
    assert bias is not None
    return MeanGenerator(
        torch.einsum("jc,c...->j...", mixing, weight).numpy(),
        (mixing @ bias.detach()).numpy(),
        (sizes.clamp(min=0.5) / sizes.clamp(min=0.5).sum()).numpy(),
    )


def _farthest_first(profiles: Tensor, parts: int) -> Tensor:
    """Cluster of each class [C] around `parts` classes that are far from each other."""
    chosen = [int(torch.cdist(profiles, profiles.mean(0, keepdim=True)).argmin())]
    distance = torch.cdist(profiles, profiles[chosen])
    while len(chosen) < parts:
        chosen.append(int(distance.min(1).values.argmax()))
        distance = torch.cdist(profiles, profiles[chosen])
    return distance.argmin(1)


def _fit(start: MeanGenerator, features: Tensor, target: Tensor) -> MeanGenerator:
    """Adam on squared error, each image's by the range of its own map, as boxes see it."""
    weight, bias = torch.from_numpy(start.weight.copy()), torch.from_numpy(start.bias.copy())
    logit = torch.from_numpy(start.share).log()
    padding = weight.shape[-1] // 2
    spread = target.amax((1, 2, 3), keepdim=True) - target.amin((1, 2, 3), keepdim=True)
    scale = 1 / spread.clamp(min=1e-3)  # [M, 1, 1, 1]
    parameters = [weight, bias, logit]
    rates = [_LEARNING_RATE * max(float(p.square().mean().sqrt()), 1e-3) for p in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.Adam(
        [{"params": [p], "lr": rate} for p, rate in zip(parameters, rates, strict=True)]
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / _STEPS)
    )
    order = torch.Generator().manual_seed(0)
    for _ in range(_STEPS):
        rows = torch.randint(len(features), (_BATCH,), generator=order)
        parts = torch.sigmoid(F.conv2d(features[rows], weight, bias, padding=padding))
        mean = (parts * logit.softmax(0).view(1, -1, 1, 1)).sum(1, keepdim=True)
        loss = ((mean - target[rows]) * scale[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        optimiser.step()
        schedule.step()
    return MeanGenerator(
        weight.detach().numpy(), bias.detach().numpy(), logit.detach().softmax(0).numpy()
    )
