"""The segmenter: a backbone of BAS with a small DeepLab head on it.

Atrous spatial pyramid pooling on the tail's features (DeepLabv3, arXiv 1706.05587: 1x1, dilated 3x3
and the mean of the image), joined by the trunk's finer features (the decoder of DeepLabv3+,
arXiv 1802.02611). 3x3 filters are depthwise separable, and there is no BatchNorm, as that of
pretrained backbones is folded and batches on small machines are small.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bas_edge_training.models import BasModel, ModelConfig

__all__ = ["SegmenterModel"]

_HIDDEN, _FINE = 128, 32
_RATES = (2, 4)  # on maps of 14 x 14 cells; DeepLab's 6, 12, 18 are for 33 x 33


class SegmenterModel(nn.Module):
    """Frames -> scores of background and every class at each cell.

    Attributes:
        config: That of the BAS model whose trunk and tail these are.
        trunk, tail: As in `BasModel`.
        head: The DeepLab head; `generator` is empty, so that `parameter_groups` finds all four.
    """

    def __init__(self, bas: BasModel) -> None:
        super().__init__()
        self.config: ModelConfig = bas.config
        outputs = 1 + bas.config.num_classes
        bas.head, bas.generator = nn.Identity(), nn.Identity()  # type: ignore[assignment]  # no heads of BAS in it
        self.bas = bas
        self.head = DeepLabHead(bas.trunk.channels, bas.tail.channels, outputs)
        self.generator = nn.Identity()

    @property
    def trunk(self) -> nn.Module:
        """See `BasModel`."""
        return self.bas.trunk

    @property
    def tail(self) -> nn.Module:
        """See `BasModel`."""
        return self.bas.tail

    def forward(self, frames: Tensor) -> Tensor:
        """RGB pixels 0 to 255 [N, 3, H, W] -> scores before any softmax [N, 1 + C, h, w].

        Index 0 is the background; (h, w) are those of the trunk's features.
        """
        deep = self.bas.features(frames).deep
        scores: Tensor = self.head(deep, self.bas.tail(deep))
        return scores


class DeepLabHead(nn.Module):
    """Two maps of features -> one map a class, at the cells of the finer one."""

    def __init__(self, deep: int, top: int, outputs: int) -> None:
        super().__init__()
        self.plain = nn.Conv2d(top, _HIDDEN, 1)
        self.rates = nn.ModuleList(_Separable(top, _HIDDEN, rate) for rate in _RATES)
        self.joined = nn.Conv2d(_HIDDEN * (1 + len(_RATES)), _HIDDEN, 1)
        self.whole = nn.Conv2d(top, _HIDDEN, 1)
        self.fine = nn.Conv2d(deep, _FINE, 1)
        self.decode = _Separable(_HIDDEN + _FINE, _HIDDEN, 1)
        self.classifier = nn.Conv2d(_HIDDEN, outputs, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, deep: Tensor, top: Tensor) -> Tensor:
        """[N, deep, h, w], [N, top, h', w'] -> [N, outputs, h, w]."""
        branches = [F.relu(self.plain(top)), *(rate(top) for rate in self.rates)]
        mean = self.whole(top.mean((2, 3), keepdim=True))  # [N, hidden, 1, 1]
        coarse = F.relu(self.joined(torch.cat(branches, 1)) + mean)
        coarse = F.interpolate(coarse, deep.shape[-2:], mode="bilinear", align_corners=False)
        fine = F.relu(self.fine(deep))
        scores: Tensor = self.classifier(self.decode(torch.cat((coarse, fine), 1)))
        return scores


class _Separable(nn.Module):
    """Depthwise 3x3 at a dilation, then 1x1, each with ReLU."""

    def __init__(self, inputs: int, outputs: int, rate: int) -> None:
        super().__init__()
        self.dw = nn.Conv2d(inputs, inputs, 3, padding=rate, dilation=rate, groups=inputs)
        self.pw = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = F.relu(self.pw(F.relu(self.dw(x))))
        return result
