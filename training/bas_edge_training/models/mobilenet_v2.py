"""MobileNetV2 (arXiv 1801.04381), cut as BAS cuts MobileNetV1.

The 64- and 96-channel stages stay at stride 8: 28x28 cells of a 224-pixel image. As there, later
depthwise filters can be dilated by two (`atrous`), and map stride 16 is the original network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, Dialect, Features, Tail, Trunk
from .config import IMAGENET_RELU6, TENSORFLOW, ModelConfig
from .depthwise import DepthwiseBlock, run_blocks
from .layers import ConvUnit
from .seams import Seam

__all__ = ["MOBILENET_V2"]

# (expansion, output channels at width 1, stride) of blocks 0 to 16, as published (table 2).
_BLOCKS = (
    (1, 16, 1),
    *((6, 24, 2), (6, 24, 1)),
    *((6, 32, 2), (6, 32, 1), (6, 32, 1)),
    *((6, 64, 2), (6, 64, 1), (6, 64, 1), (6, 64, 1)),
    *((6, 96, 1), (6, 96, 1), (6, 96, 1)),
    *((6, 160, 2), (6, 160, 1), (6, 160, 1)),
    (6, 320, 1),
)
_TRUNK = 13  # blocks 0 to 12
_KEPT = 6  # the block whose stride map stride 8 removes; dilation starts after it
_LAST_HALVING = {8: 3, 16: _KEPT}  # by map stride: the trunk's last block of stride 2
_HEAD = 1280
_TIMM_STAGES = (1, 2, 3, 4, 3, 3, 1)


def _divisible(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and never less than nine tenths of it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class InvertedResidual(DepthwiseBlock):
    """1x1 expansion, depthwise 3x3, linear 1x1 projection; added to the input where sizes allow."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        expansion: int,
        stride: int,
        dilation: int,
        original_stride: int,
        config: ModelConfig,
    ) -> None:
        super().__init__()
        norm, conventions = config.norm, config.conventions
        hidden = inputs * expansion
        self.expand = None
        if expansion > 1:
            self.expand = ConvUnit(inputs, hidden, kernel=1, norm=norm, conventions=conventions)
        self.dw = ConvUnit(
            hidden,
            hidden,
            kernel=3,
            stride=stride,
            groups=hidden,
            dilation=dilation,
            norm=norm,
            conventions=conventions,
        )
        self.project = ConvUnit(
            hidden, outputs, kernel=1, linear=True, norm=norm, conventions=conventions
        )
        self.residual = original_stride == 1 and inputs == outputs
        self.result = Seam()

    def forward(self, x: Tensor, *, in_phases: bool = False) -> Tensor:
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.dw(y, in_phases=in_phases))
        return self.result(x + y) if self.residual else y


class MobileNetV2Trunk(Trunk):
    """Stem and blocks 0 to 12; `fine` leaves block 6, the first at this stride.

    `centred` turns the padding of the last halving around, as in MobileNetV1.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = _divisible(32 * config.width)
        self.stem = ConvUnit(
            3, channels, kernel=3, stride=2, norm=config.norm, conventions=config.conventions
        )
        strides = [stride for _, _, stride in _BLOCKS[:_TRUNK]]
        dilations = [1] * _TRUNK
        if config.map_stride == 8:
            strides[_KEPT] = 1
            dilations = [2 if config.atrous and i > _KEPT else 1 for i in range(_TRUNK)]
        self.blocks, self.channels = _blocks(channels, 0, strides, dilations, config)
        self.fine_channels = _divisible(_BLOCKS[_KEPT][1] * config.width)
        last_halving = self.blocks[_LAST_HALVING[config.map_stride]]
        assert isinstance(last_halving, InvertedResidual)
        last_halving.dw.turned = config.centred

    def forward(self, x: Tensor) -> Features:
        fine = run_blocks(self.blocks[: _KEPT + 1], self.stem(x))
        return Features(run_blocks(self.blocks[_KEPT + 1 :], fine), fine)


class MobileNetV2Tail(Tail):
    """Blocks 13 to 16 and the last 1x1: [N, 96 * width, h, w] -> [N, 1280, h / 2, w / 2].

    Where filters are dilated a 2x2 mean halves the map, as in MobileNetV1's tail.
    """

    def __init__(self, channels: int, config: ModelConfig) -> None:
        super().__init__()
        self.pooled = config.atrous and config.map_stride == 8
        strides = [1 if self.pooled else stride for _, _, stride in _BLOCKS[_TRUNK:]]
        dilations = [1] + [2 if self.pooled else 1] * (len(strides) - 1)
        self.halved = Seam()
        self.blocks, channels = _blocks(channels, _TRUNK, strides, dilations, config)
        self.channels = _divisible(_HEAD * max(1.0, config.width))
        self.head = ConvUnit(
            channels, self.channels, kernel=1, norm=config.norm, conventions=config.conventions
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.halved(F.avg_pool2d(x, 2)) if self.pooled else x
        return self.head(run_blocks(self.blocks, x))


def _blocks(
    channels: int, first: int, strides: Sequence[int], dilations: Sequence[int], config: ModelConfig
) -> tuple[nn.ModuleList, int]:
    """Blocks from `first` on, and how many channels leave the last one."""
    blocks = nn.ModuleList()
    for index, (stride, dilation) in enumerate(zip(strides, dilations, strict=True), first):
        expansion, outputs, original = _BLOCKS[index]
        outputs = _divisible(outputs * config.width)
        blocks.append(
            InvertedResidual(
                channels,
                outputs,
                expansion=expansion,
                stride=stride,
                dilation=dilation,
                original_stride=original,
                config=config,
            )
        )
        channels = outputs
    return blocks, channels


def _build(config: ModelConfig) -> tuple[Trunk, Tail]:
    trunk = MobileNetV2Trunk(config)
    return trunk, MobileNetV2Tail(trunk.channels, config)


def _place(path: str) -> tuple[int, str]:
    """Block and kind: (14, "dw") of "tail.blocks.1.dw"; stem and last 1x1 are blocks -1 and 17."""
    if path in ("trunk.stem", "tail.head"):
        return (-1, "stem") if path == "trunk.stem" else (len(_BLOCKS), "head")
    part, _, index, kind = path.split(".")
    return int(index) + (_TRUNK if part == "tail" else 0), kind


def _folded_names(path: str) -> tuple[str, str]:
    index, kind = _place(path)
    return (kind if kind in ("stem", "head") else f"blocks.{index}.{kind}"), ""


def _torchvision_names(path: str) -> tuple[str, str]:
    index, kind = _place(path)
    stem = f"features.{index + 1}"
    if kind in ("stem", "head"):
        return f"{stem}.0", f"{stem}.1"
    expanded = int(_BLOCKS[index][0] > 1)
    if kind == "project":
        return f"{stem}.conv.{1 + expanded}", f"{stem}.conv.{2 + expanded}"
    at = 0 if kind == "expand" else expanded
    return f"{stem}.conv.{at}.0", f"{stem}.conv.{at}.1"


def _timm_names(path: str) -> tuple[str, str]:
    index, kind = _place(path)
    if kind in ("stem", "head"):
        return f"conv_{kind}", "bn1" if kind == "stem" else "bn2"
    expanded = int(_BLOCKS[index][0] > 1)
    stage = 0
    while index >= _TIMM_STAGES[stage]:
        index -= _TIMM_STAGES[stage]
        stage += 1
    block = f"blocks.{stage}.{index}"
    order = ("expand", "dw", "project") if expanded else ("dw", "project")
    names = {"expand": "pw", "dw": "dw", "project": "pwl" if expanded else "pw"}
    return f"{block}.conv_{names[kind]}", f"{block}.bn{order.index(kind) + 1}"


MOBILENET_V2 = Backbone(
    build=_build,
    dialects=(
        Dialect("Google's folded", TENSORFLOW, _folded_names),
        Dialect("torchvision's", IMAGENET_RELU6, _torchvision_names),
        Dialect("timm's", IMAGENET_RELU6, _timm_names),
    ),
    map_strides=(8, 16),
)
