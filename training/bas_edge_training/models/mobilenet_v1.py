"""MobileNetV1, cut where BAS cuts it.

BAS keeps the 512-channel stage at stride 8, so that the generator sees 28x28 cells of a
224-pixel image; only the two last blocks halve it once more (arXiv 2112.00580, section 4.1).

Where block 5 no longer halves the map, every later depthwise filter can be dilated by two
(`atrous`): it then reads exactly the inputs it was trained on, at no extra arithmetic. On frozen
ImageNet features of cub50 a linear probe scores 71 % so, 60 % without, and 71 % at the original
stride.

At map stride 16 block 5 halves the map as in the original, and the whole backbone is the original:
nothing to dilate, 14x14 cells, a third of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Conventions
from .seams import Conv2d, Seam

__all__ = ["ConvUnit", "Features", "SeparableBlock", "Tail", "Trunk", "scaled"]

# (output channels at width 1, stride) of blocks 0 to 12. Block 5 of the original has stride 2; at
# map stride 8 it has 1, which keeps blocks 5 to 10 at stride 8.
_TRUNK = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5)
_TAIL = ((1024, 2), (1024, 1))
_ATROUS_TAIL = ((1024, 1), (1024, 1))  # behind a 2x2 mean: every cell counts, none is skipped
_KEPT = 5  # the block whose stride map stride 8 removes; dilation starts after it
_LAST_HALVING = {8: 3, 16: _KEPT}  # by map stride: the trunk's last block of stride 2


def scaled(channels: int, width: float) -> int:
    """Channel count at a width multiplier, never below 8."""
    return max(8, int(channels * width))


class ConvUnit(nn.Module):
    """Convolution, optional BatchNorm, activation; `result` is what leaves it."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        norm: str,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        self.conv = Conv2d(
            inputs,
            outputs,
            kernel,
            stride=stride,
            groups=groups,
            dilation=dilation,
            bias=norm == "none",
        )
        self.bn = nn.BatchNorm2d(outputs) if norm == "batch" else None
        self.conventions = conventions
        self.result = Seam()
        self.turned = False  # True: an even side is padded at the other end than `conventions` say

    def forward(self, x: Tensor, *, in_phases: bool = False) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h', w']; `in_phases` if `x` is `to_phases` of it."""
        conv = self.conv
        dilation = 1 if in_phases else conv.dilation[0]
        stride, pad = conv.stride[0], conv.kernel_size[0] // 2 * dilation
        if pad and stride == 2:
            height, width = x.shape[-2:]
            # TensorFlow's SAME: an even side has one padding less, at its start.
            short = int((self.conventions.padding == "tf_same") != self.turned)
            top, left = pad - short * (1 - height % 2), pad - short * (1 - width % 2)
            if (top, left) != (pad, pad):
                x, pad = F.pad(x, (left, pad, top, pad)), 0
        x = F.conv2d(x, conv.used_weight(), conv.bias, stride, pad, dilation, conv.groups)
        if self.bn is not None:
            x = self.bn(x)
        return self.result(F.relu6(x) if self.conventions.activation == "relu6" else F.relu(x))


class SeparableBlock(nn.Module):
    """Depthwise 3x3, then pointwise 1x1, each with its activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        dilation: int,
        norm: str,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        self.dw = ConvUnit(
            inputs,
            inputs,
            kernel=3,
            stride=stride,
            groups=inputs,
            dilation=dilation,
            norm=norm,
            conventions=conventions,
        )
        self.pw = ConvUnit(inputs, outputs, kernel=1, norm=norm, conventions=conventions)

    def forward(self, x: Tensor, *, in_phases: bool = False) -> Tensor:
        return self.pw(self.dw(x, in_phases=in_phases))


class Features(NamedTuple):
    """What leaves the trunk, both [N, 512 * width, H / s, W / s] at map stride s, 8 or 16.

    Attributes:
        deep: F of the paper, after block 10: knows classes, sees far. Tail and erase branch
            read it.
        fine: After block 5, the first at this stride, whether it halves the map or not: sees 59
            pixels.
    """

    deep: Tensor
    fine: Tensor


class Trunk(nn.Module):
    """Stem and blocks 0 to 10: [N, 3, H, W] -> Features.

    Three layers halve the map, and each sees half a pixel of its input beside the middle of its
    cell: to the lower right where the padding is TensorFlow's, to the upper left where it is
    symmetric. In input pixels that is 0.5 + 1 + 2 = 3.5, by which every map would lie on the
    other side of its object. `centred` turns the last one around: 0.5 + 1 - 2 = -0.5. Its
    filters see the same neighbourhoods, of cells half a cell away. At map stride 16 a fourth
    layer halves the map: 7.5 pixels, and with that one turned 0.5 + 1 + 2 - 4 = -0.5 again.
    """

    def __init__(
        self,
        *,
        width: float,
        map_stride: int,
        atrous: bool,
        centred: bool,
        norm: str,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        channels = scaled(32, width)
        self.stem = ConvUnit(3, channels, kernel=3, stride=2, norm=norm, conventions=conventions)
        table, dilations = list(_TRUNK), [1] * len(_TRUNK)
        if map_stride == 8:
            table[_KEPT] = (table[_KEPT][0], 1)
            dilations = [2 if atrous and index > _KEPT else 1 for index in range(len(_TRUNK))]
        self.blocks, self.channels = _blocks(
            channels, table, dilations, width=width, norm=norm, conventions=conventions
        )
        last_halving = self.blocks[_LAST_HALVING[map_stride]]
        assert isinstance(last_halving, SeparableBlock)
        last_halving.dw.turned = centred

    def forward(self, x: Tensor) -> Features:
        fine = _run(self.blocks[: _KEPT + 1], self.stem(x))
        return Features(_run(self.blocks[_KEPT + 1 :], fine), fine)


class Tail(nn.Module):
    """Blocks 11 and 12: [N, 512 * width, h, w] -> [N, 1024 * width, h / 2, w / 2].

    At map stride 16 these are the original's own strides: block 11 reads every cell of the map
    (3x3 filters two cells apart), and both blocks read what they were trained on, at a quarter of
    the arithmetic of staying at stride 16. At map stride 8 a stride-2 filter dilated by two would
    skip every other cell, so a 2x2 mean halves the map, and block 12 is dilated instead. An odd
    side rounds up at map stride 16; at 8 there is none, since inputs are multiples of 16.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: float,
        map_stride: int,
        atrous: bool,
        norm: str,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        self.pooled = atrous and map_stride == 8
        table, dilations = (_ATROUS_TAIL, (1, 2)) if self.pooled else (_TAIL, (1, 1))
        self.halved = Seam()
        self.blocks, self.channels = _blocks(
            channels, table, dilations, width=width, norm=norm, conventions=conventions
        )

    def forward(self, x: Tensor) -> Tensor:
        return _run(self.blocks, self.halved(F.avg_pool2d(x, 2)) if self.pooled else x)


def to_phases(x: Tensor) -> Tensor:
    """[N, C, h, w] -> [4N, C, h/2, w/2]: even and odd rows and columns as images of their own.

    A filter dilated by two never mixes them, so on the result it is an ordinary filter.
    """
    count, channels, height, width = x.shape
    x = x.reshape(count, channels, height // 2, 2, width // 2, 2).permute(3, 5, 0, 1, 2, 4)
    return x.reshape(4 * count, channels, height // 2, width // 2)


def from_phases(x: Tensor) -> Tensor:
    """Undo `to_phases`: [4N, C, h/2, w/2] -> [N, C, h, w]."""
    count, channels, height, width = x.shape
    x = x.reshape(2, 2, count // 4, channels, height, width).permute(2, 3, 4, 0, 5, 1)
    return x.reshape(count // 4, channels, 2 * height, 2 * width)


def _run(blocks: Iterable[nn.Module], x: Tensor) -> Tensor:
    """All blocks in turn.

    Where gradients are wanted, consecutive blocks dilated at stride 1 run in phases: on CPUs
    PyTorch's backward of a dilated depthwise convolution is some fifty times slower than that
    of an ordinary one. Values and gradients are the same.
    """
    in_phases = False
    for block in blocks:
        assert isinstance(block, SeparableBlock)
        conv = block.dw.conv
        even = in_phases or not any(side % 2 for side in x.shape[-2:])
        wanted = torch.is_grad_enabled() and conv.dilation[0] == 2 and even
        if wanted != in_phases:
            x = to_phases(x) if wanted else from_phases(x)
            in_phases = wanted
        x = block(x, in_phases=in_phases)
    return from_phases(x) if in_phases else x


def _blocks(
    channels: int,
    table: Sequence[tuple[int, int]],
    dilations: Sequence[int],
    *,
    width: float,
    norm: str,
    conventions: Conventions,
) -> tuple[nn.ModuleList, int]:
    """Blocks of one table, and how many channels leave the last one."""
    blocks = nn.ModuleList()
    for (outputs, stride), dilation in zip(table, dilations, strict=True):
        blocks.append(
            SeparableBlock(
                channels,
                scaled(outputs, width),
                stride=stride,
                dilation=dilation,
                norm=norm,
                conventions=conventions,
            )
        )
        channels = scaled(outputs, width)
    return blocks, channels


def initialise_backbone(module: nn.Module) -> None:
    """For training from scratch: He initialisation, but depthwise filters begin near identity.

    Drawn at random, a dozen of them in a row blur and shift where things are, and nothing in
    image labels asks for that back: maps of the generated set sat beside their objects.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.groups > 1:
                nn.init.normal_(layer.weight, 0, 0.1)
                with torch.no_grad():
                    layer.weight[:, 0, 1, 1] += 1
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def normalise(frames: Tensor, conventions: Conventions) -> Tensor:
    """[N, 3, H, W] pixels 0 to 255, any dtype -> float32, as the backbone expects it."""
    mean = torch.tensor(conventions.mean, device=frames.device).view(1, 3, 1, 1)
    std = torch.tensor(conventions.std, device=frames.device).view(1, 3, 1, 1)
    return (frames.float() - mean) / std
