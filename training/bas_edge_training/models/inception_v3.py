"""InceptionV3 (arXiv 1512.00567), cut behind Mixed_6e.

As published for BAS: poolings and the first convolution are padded, Mixed_6a keeps stride 8, and
so 28x28 cells of a 224-pixel image remain; Mixed_7a halves them. Filters behind the removed stride
then read cells half as far apart as they were trained on; `atrous` dilates them (false in the
published form).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, Dialect, Features, Tail, Trunk
from .config import HALVES, TORCHVISION, ModelConfig
from .layers import ConvUnit, MaxPool, MeanPool, scaled
from .seams import Seam

__all__ = ["INCEPTION_V3"]

_EPSILON = 1e-3  # of its BatchNorms


class Step(NamedTuple):
    """One convolution of a branch: its name, channels at width 1, kernel and stride."""

    name: str
    channels: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1


Fork = tuple[Step, Step]  # two convolutions of the same input, side by side
Branch = Sequence[Step | Fork]


class Mixed(nn.Module):
    """Branches side by side, the last of which pools; their results are concatenated."""

    def __init__(
        self,
        inputs: int,
        branches: Iterable[Branch],
        *,
        pool: Literal["mean", "max"],
        pooled: int = 0,
        stride: int = 1,
        dilation: int = 1,
        config: ModelConfig,
    ) -> None:
        super().__init__()
        self._branches: list[list[tuple[str, ...]]] = []
        self.channels = 0

        def add(step: Step, inputs: int) -> int:
            outputs = scaled(step.channels, config.width)
            unit = ConvUnit(
                inputs,
                outputs,
                kernel=step.kernel,
                stride=step.stride,
                dilation=dilation,
                symmetric=True,
                norm=config.norm,
                epsilon=_EPSILON,
                conventions=config.conventions,
            )
            self.add_module(step.name, unit)
            return outputs

        for branch in branches:
            channels, names = inputs, []
            for step in branch:
                side_by_side = (step,) if isinstance(step, Step) else step
                channels = sum(add(one, channels) for one in side_by_side)
                names.append(tuple(one.name for one in side_by_side))
            self._branches.append(names)
            self.channels += channels
        self.pool = MeanPool(dilation) if pool == "mean" else MaxPool(3, stride, padding=1)
        if pooled:
            self.channels += add(Step("branch_pool", pooled), inputs)
        else:
            self.channels += inputs
        self._projected = bool(pooled)
        self.result = Seam()

    def forward(self, x: Tensor) -> Tensor:
        results = []
        for branch in self._branches:
            y = [x]
            for names in branch:
                both = y[0] if len(y) == 1 else torch.cat(y, 1)
                y = [self.get_submodule(name)(both) for name in names]
            results += y
        pooled = self.pool(x)
        results.append(self.get_submodule("branch_pool")(pooled) if self._projected else pooled)
        return self.result(torch.cat(results, 1))


def _mixed_5(inputs: int, pooled: int, config: ModelConfig) -> Mixed:
    branches: tuple[Branch, ...] = (
        (Step("branch1x1", 64),),
        (Step("branch5x5_1", 48), Step("branch5x5_2", 64, 5)),
        (Step("branch3x3dbl_1", 64), Step("branch3x3dbl_2", 96, 3), Step("branch3x3dbl_3", 96, 3)),
    )
    return Mixed(inputs, branches, pool="mean", pooled=pooled, config=config)


def _mixed_6a(inputs: int, config: ModelConfig) -> Mixed:
    branches: tuple[Branch, ...] = (
        (Step("branch3x3", 384, 3),),
        (Step("branch3x3dbl_1", 64), Step("branch3x3dbl_2", 96, 3), Step("branch3x3dbl_3", 96, 3)),
    )
    return Mixed(inputs, branches, pool="max", config=config)


def _mixed_6(inputs: int, inner: int, config: ModelConfig) -> Mixed:
    wide, high = (1, 7), (7, 1)
    branches: tuple[Branch, ...] = (
        (Step("branch1x1", 192),),
        (
            Step("branch7x7_1", inner),
            Step("branch7x7_2", inner, wide),
            Step("branch7x7_3", 192, high),
        ),
        (
            Step("branch7x7dbl_1", inner),
            Step("branch7x7dbl_2", inner, high),
            Step("branch7x7dbl_3", inner, wide),
            Step("branch7x7dbl_4", inner, high),
            Step("branch7x7dbl_5", 192, wide),
        ),
    )
    dilation = 2 if config.atrous else 1
    return Mixed(inputs, branches, pool="mean", pooled=192, dilation=dilation, config=config)


def _mixed_7a(inputs: int, stride: int, config: ModelConfig) -> Mixed:
    branches: tuple[Branch, ...] = (
        (Step("branch3x3_1", 192), Step("branch3x3_2", 320, 3, stride)),
        (
            Step("branch7x7x3_1", 192),
            Step("branch7x7x3_2", 192, (1, 7)),
            Step("branch7x7x3_3", 192, (7, 1)),
            Step("branch7x7x3_4", 192, 3, stride),
        ),
    )
    return Mixed(inputs, branches, pool="max", stride=stride, config=config)


def _mixed_7(inputs: int, config: ModelConfig) -> Mixed:
    wide, high = (1, 3), (3, 1)
    branches: tuple[Branch, ...] = (
        (Step("branch1x1", 320),),
        (
            Step("branch3x3_1", 384),
            (Step("branch3x3_2a", 384, wide), Step("branch3x3_2b", 384, high)),
        ),
        (
            Step("branch3x3dbl_1", 448),
            Step("branch3x3dbl_2", 384, 3),
            (Step("branch3x3dbl_3a", 384, wide), Step("branch3x3dbl_3b", 384, high)),
        ),
    )
    dilation = 2 if config.atrous else 1
    return Mixed(inputs, branches, pool="mean", pooled=192, dilation=dilation, config=config)


class InceptionV3Trunk(Trunk):
    """Conv2d_1a to Mixed_6e; `fine` leaves Mixed_6a, and sees 159 pixels.

    The two convolutions without padding move what cells see by 1 cell each, the three halvings
    by half a pixel of their input in the other direction: -0.5 + 2 - 1 + 4 - 2 = 2.5 pixels to the
    lower right. `centred` moves the frame by 2.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _unit(3, 32, config, kernel=3, stride=2)
        channels = self.Conv2d_1a_3x3.conv.out_channels
        self.Conv2d_2a_3x3 = _unit(channels, 32, config, kernel=3, padded=False)
        self.Conv2d_2b_3x3 = _unit(channels, 64, config, kernel=3)
        self.pool_2 = MaxPool(3, 2, padding=1, round_up=True)
        channels = self.Conv2d_2b_3x3.conv.out_channels
        self.Conv2d_3b_1x1 = _unit(channels, 80, config, kernel=1)
        channels = self.Conv2d_3b_1x1.conv.out_channels
        self.Conv2d_4a_3x3 = _unit(channels, 192, config, kernel=3, padded=False)
        self.pool_4 = MaxPool(3, 2, padding=1, round_up=True)
        channels = self.Conv2d_4a_3x3.conv.out_channels
        for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            block = _mixed_5(channels, pooled, config)
            self.add_module(name, block)
            channels = block.channels
        self.Mixed_6a = _mixed_6a(channels, config)
        channels = self.fine_channels = self.Mixed_6a.channels
        self._deep = ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e")
        for name, inner in zip(self._deep, (128, 160, 160, 192), strict=True):
            block = _mixed_6(channels, inner, config)
            self.add_module(name, block)
            channels = block.channels
        self.channels = channels
        self.displacement = -2 if config.centred else 0

    def forward(self, x: Tensor) -> Features:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.pool_2(x)))
        x = self.pool_4(x)
        for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a"):
            x = self.get_submodule(name)(x)
        fine = x
        for name in self._deep:
            x = self.get_submodule(name)(x)
        return Features(x, fine)


class InceptionV3Tail(Tail):
    """Mixed_7a to 7c: [N, 768 * width, h, w] -> [N, 2048 * width, h / 2, w / 2].

    Where filters are dilated, a 2x2 mean halves the map and Mixed_7a reads all of it: a stride-2
    filter dilated by two would skip every other cell.
    """

    def __init__(self, channels: int, config: ModelConfig) -> None:
        super().__init__()
        self.pooled = config.atrous
        self.halved = Seam()
        self.Mixed_7a = _mixed_7a(channels, 1 if self.pooled else 2, config)
        self.Mixed_7b = _mixed_7(self.Mixed_7a.channels, config)
        self.Mixed_7c = _mixed_7(self.Mixed_7b.channels, config)
        self.channels = self.Mixed_7c.channels

    def forward(self, x: Tensor) -> Tensor:
        x = self.halved(F.avg_pool2d(x, 2)) if self.pooled else x
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))


def _unit(
    inputs: int,
    outputs: int,
    config: ModelConfig,
    *,
    kernel: int,
    stride: int = 1,
    padded: bool = True,
) -> ConvUnit:
    return ConvUnit(
        inputs,
        scaled(outputs, config.width),
        kernel=kernel,
        stride=stride,
        padded=padded,
        symmetric=True,
        norm=config.norm,
        epsilon=_EPSILON,
        conventions=config.conventions,
    )


def _build(config: ModelConfig) -> tuple[Trunk, Tail]:
    trunk = InceptionV3Trunk(config)
    return trunk, InceptionV3Tail(trunk.channels, config)


def _names(path: str) -> tuple[str, str]:
    """Of torchvision, timm and BAS: `Mixed_5b.branch1x1.conv` beside `.bn`."""
    stem = path.partition(".")[2]
    return f"{stem}.conv", f"{stem}.bn"


INCEPTION_V3 = Backbone(
    build=_build,
    dialects=(Dialect("torchvision's and timm's", HALVES, _names),),
    published=Dialect("BAS's", TORCHVISION, _names),
)
