"""The two things on top of the backbone: class scores, and one foreground map per class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Features
from .seams import Conv2d, Seam

__all__ = ["ClassHead", "Generator"]


class ClassHead(nn.Module):
    """Features of the tail -> one activation map per class, whose mean is the logit.

    "paper": two 3x3 convolutions of 1024 channels with ReLU, then 1x1 (BAS section 4.1).
    "edge": the 1x1 alone. MobileNets' tails are already separable convolutions of 1024 channels.
    "segmentation": the 1x1 alone, without a bias (arXiv 2309.12943).
    """

    def __init__(
        self, channels: int, num_classes: int, *, kind: str, hidden: int, rectified: bool
    ) -> None:
        super().__init__()
        self.kind, self.rectified = kind, rectified
        if kind == "paper":
            self.conv1, self.result1 = Conv2d(channels, hidden, 3, padding=1), Seam()
            self.conv2, self.result2 = Conv2d(hidden, hidden, 3, padding=1), Seam()
        self.classifier = nn.Conv2d(
            hidden if kind == "paper" else channels, num_classes, 1, bias=kind != "segmentation"
        )
        _initialise(self)
        if kind == "edge":
            # Straight on pretrained features, Xavier's logits would be far too large.
            nn.init.normal_(self.classifier.weight, std=0.01)

    def features(self, x: Tensor) -> Tensor:
        """[N, channels, h, w] -> [N, hidden, h, w], what the 1x1 classifier sees."""
        if self.kind == "paper":
            x = self.result1(F.relu(self.conv1(x)))
            x = self.result2(F.relu(self.conv2(x)))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, h, w] -> class activation maps [N, C, h, w]."""
        return self.class_maps(self.features(x))

    def logits(self, x: Tensor) -> Tensor:
        """[N, channels, h, w] -> [N, C]."""
        return self.scores(self.features(x))

    def class_maps(self, features: Tensor) -> Tensor:
        """Of what `features` gives: class activation maps [N, C, h, w], whose mean is the logit."""
        maps = self.classifier(features)
        return F.relu(maps) if self.rectified else maps

    def scores(self, features: Tensor) -> Tensor:
        """The same, logits [N, C]. Where it can, pools before the classifier: same value."""
        if self.rectified:
            return self.class_maps(features).mean((2, 3), keepdim=True).flatten(1)
        return self.classifier(features.mean((2, 3), keepdim=True)).flatten(1)


class Generator(nn.Module):
    """Features at the map stride -> one foreground prediction map per class, before the sigmoid.

    "paper": one 3x3 convolution of F; "segmentation": the same without a bias. "edge": depthwise
    3x3 of F, beside it the trunk's finer features if it has some, then 1x1: F sees far around each
    cell, the finer features little. What they bring has not been measured alone
    (docs/training.md).
    """

    def __init__(self, channels: int, fine_channels: int, num_classes: int, *, kind: str) -> None:
        super().__init__()
        self.kind = kind
        if kind == "edge":
            self.dw = Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
            self.dw_result = Seam()
            self.conv = nn.Conv2d(channels + fine_channels, num_classes, 1)
        else:
            self.conv = nn.Conv2d(channels, num_classes, 3, padding=1, bias=kind == "paper")
        _initialise(self)
        if kind == "edge":  # a start on F alone: finer features join as far as they help
            nn.init.xavier_uniform_(self.conv.weight[:, :channels])
            nn.init.zeros_(self.conv.weight[:, channels:])

    def forward(self, features: Features) -> Tensor:  # [N, channels, h, w] each -> [N, C, h, w]
        if self.kind != "edge":
            return self.conv(features.deep)
        near = self.dw_result(self.dw(features.deep))
        return self.conv(near if features.fine is None else torch.cat((near, features.fine), 1))


def _initialise(part: nn.Module) -> None:
    """Xavier weights and zero biases, as published; a depthwise filter starts as identity."""
    for layer in part.children():
        if isinstance(layer, nn.Conv2d):
            if layer.groups == layer.in_channels > 1:
                nn.init.dirac_(layer.weight, groups=layer.groups)
            else:
                nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
