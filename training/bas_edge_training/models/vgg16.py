"""VGG16 (arXiv 1409.1556, configuration D), cut behind conv4_3.

As published for BAS: F is conv4_3, 28x28 cells of a 224-pixel image; pool4 and conv5 are the tail.
No stride is removed, so there is nothing to dilate, and its cells see their own place.
"""

from __future__ import annotations

from torch import Tensor, nn

from .backbone import Backbone, Dialect, Features, Tail, Trunk
from .config import TORCHVISION, ModelConfig
from .layers import ConvUnit, MaxPool, scaled

__all__ = ["VGG16"]

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # (channels at width 1, convolutions)


class VGG16Trunk(Trunk):
    """conv1_1 to conv4_3; `fine` leaves conv4_1, and sees 60 pixels."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        channels = 3
        for number in range(1, 5):
            stage, channels = _stage(number, channels, config)
            self.stages.append(stage)
        self.pools = nn.ModuleList(MaxPool(2, 2) for _ in range(3))
        self.channels = self.fine_channels = channels

    def forward(self, x: Tensor) -> Features:
        for stage, pool in zip(self.stages[:3], self.pools, strict=True):
            for conv in stage.children():
                x = conv(x)
            x = pool(x)
        first, *others = self.stages[3].children()
        fine = x = first(x)
        for conv in others:
            x = conv(x)
        return Features(x, fine)


class VGG16Tail(Tail):
    """pool4 and conv5: [N, 512 * width, h, w] -> [N, 512 * width, h / 2, w / 2]."""

    def __init__(self, channels: int, config: ModelConfig) -> None:
        super().__init__()
        self.pool = MaxPool(2, 2)
        self.stage, self.channels = _stage(5, channels, config)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)
        for conv in self.stage.children():
            x = conv(x)
        return x


def _stage(number: int, channels: int, config: ModelConfig) -> tuple[nn.Module, int]:
    """Stage 1 to 5 with its convolutions by their names, and how many channels leave it."""
    stage = nn.Module()
    width, count = _STAGES[number - 1]
    for index in range(1, count + 1):
        outputs = scaled(width, config.width)
        unit = ConvUnit(
            channels, outputs, kernel=3, norm=config.norm, conventions=config.conventions
        )
        stage.add_module(f"conv{number}_{index}", unit)
        channels = outputs
    return stage, channels


def _build(config: ModelConfig) -> tuple[Trunk, Tail]:
    trunk = VGG16Trunk(config)
    return trunk, VGG16Tail(trunk.channels, config)


def _published_names(path: str) -> tuple[str, str]:
    return path.rpartition(".")[2], ""


def _numbered_names(path: str) -> tuple[str, str]:
    """Of torchvision and timm: `features.N`, where ReLUs and poolings count too."""
    stage, _, index = path.rpartition(".conv")[2].partition("_")
    before = sum(2 * count + 1 for _, count in _STAGES[: int(stage) - 1])
    return f"features.{before + 2 * (int(index) - 1)}", ""


VGG16 = Backbone(
    build=_build,
    dialects=(Dialect("torchvision's and timm's", TORCHVISION, _numbered_names),),
    published=Dialect("BAS's", TORCHVISION, _published_names),
    trained_stride=8,
    batch_norm=False,
)
