"""ResNet50 (arXiv 1512.03385, stride in the 3x3 as in torchvision), cut behind layer3.

As published for BAS, layer3 keeps stride 8: 28x28 cells of a 224-pixel image; a 2x2 maximum then
halves the map, and layer4 keeps that. Its filters then read cells half as far apart as they were
trained on; `atrous` dilates them (false in the published form). At map stride 16 layers 3 and 4
have the strides of the original. The head "segmentation" (BAS for segmentation, arXiv 2309.12943)
has map stride 16 and a layer4 that halves nothing.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, Dialect, Features, Tail, Trunk
from .config import TORCHVISION, ModelConfig
from .layers import ConvUnit, MaxPool, scaled
from .seams import Seam

__all__ = ["RESNET50"]

_EXPANSION = 4
_CHANNELS = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}  # inside a block
_COUNTS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1, added to its input."""

    def __init__(
        self, inputs: int, channels: int, *, stride: int, dilation: int, config: ModelConfig
    ) -> None:
        super().__init__()
        norm, conventions = config.norm, config.conventions
        outputs = channels * _EXPANSION
        self.conv1 = ConvUnit(inputs, channels, kernel=1, norm=norm, conventions=conventions)
        self.conv2 = ConvUnit(
            channels,
            channels,
            kernel=3,
            stride=stride,
            dilation=dilation,
            symmetric=True,
            norm=norm,
            conventions=conventions,
        )
        self.conv3 = ConvUnit(
            channels, outputs, kernel=1, linear=True, norm=norm, conventions=conventions
        )
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = ConvUnit(
                inputs,
                outputs,
                kernel=1,
                stride=stride,
                linear=True,
                norm=norm,
                conventions=conventions,
            )
        self.result = Seam()

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        return self.result(F.relu(self.conv3(self.conv2(self.conv1(x))) + beside))


class ResNet50Trunk(Trunk):
    """conv1 to layer3; `fine` leaves its first block, and sees 107 pixels.

    conv1, the pooling and layer2 halve the map with symmetric padding, and each sees half a
    pixel of its input to the upper left of the middle of its cell: 0.5 + 1 + 2 = 3.5 pixels of the
    frame, and 7.5 at map stride 16. `centred` moves the frame by 3 (or 7).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = scaled(64, config.width)
        self.conv1 = ConvUnit(
            3,
            channels,
            kernel=7,
            stride=2,
            symmetric=True,
            norm=config.norm,
            conventions=config.conventions,
        )
        self.maxpool = MaxPool(3, 2, padding=1)
        lost = config.map_stride == 8
        self.layer1, channels = _layer("layer1", channels, config)
        self.layer2, channels = _layer("layer2", channels, config, stride=2)
        self.layer3, self.channels = _layer(
            "layer3", channels, config, stride=1 if lost else 2, dilated=lost and config.atrous
        )
        self.fine_channels = self.channels
        self.displacement = config.map_stride // 2 - 1 if config.centred else 0

    def forward(self, x: Tensor) -> Features:
        x = self.layer2(self.layer1(self.maxpool(self.conv1(x))))
        fine = self.layer3[0](x)
        return Features(self.layer3[1:](fine), fine)


class ResNet50Tail(Tail):
    """layer4: [N, 1024 * width, h, w] -> [N, 2048 * width, h / 2, w / 2], or h, w (segmentation).

    At map stride 8 a 2x2 maximum halves the map, as published. At 16 the first 3x3 does, as in
    the original.
    """

    def __init__(self, channels: int, config: ModelConfig) -> None:
        super().__init__()
        self.pool = MaxPool(2, 2) if config.map_stride == 8 else None
        segments = config.head == "segmentation"
        stride = 1 if self.pool is not None or segments else 2
        dilated = config.atrous and stride == 1
        self.layer4, self.channels = _layer(
            "layer4", channels, config, stride=stride, dilated=dilated
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layer4(x if self.pool is None else self.pool(x))


def _layer(
    name: str, channels: int, config: ModelConfig, *, stride: int = 1, dilated: bool = False
) -> tuple[nn.Sequential, int]:
    """A layer's blocks, and how many channels leave it.

    Where its stride was removed (`dilated`), the first 3x3 still reads the cells that it was
    trained on; those behind it read cells twice as far apart.
    """
    blocks = nn.Sequential()
    width = scaled(_CHANNELS[name], config.width)
    for index in range(_COUNTS[name]):
        block = Bottleneck(
            channels,
            width,
            stride=stride if index == 0 else 1,
            dilation=2 if dilated and index > 0 else 1,
            config=config,
        )
        blocks.append(block)
        channels = width * _EXPANSION
    return blocks, channels


def _build(config: ModelConfig) -> tuple[Trunk, Tail]:
    trunk = ResNet50Trunk(config)
    return trunk, ResNet50Tail(trunk.channels, config)


def _names(path: str) -> tuple[str, str]:
    """Of torchvision, timm and BAS: `layer1.0.conv1` beside `layer1.0.bn1`."""
    stem = path.partition(".")[2]
    block, _, last = stem.rpartition(".")
    if last == "downsample":
        return f"{stem}.0", f"{stem}.1"
    return stem, f"{block}.{last.replace('conv', 'bn')}".removeprefix(".")


RESNET50 = Backbone(
    build=_build,
    dialects=(Dialect("torchvision's and timm's", TORCHVISION, _names),),
    published=Dialect("BAS's", TORCHVISION, _names),
    map_strides=(8, 16),
)
