"""What backbones are made of. Every tensor that int8 would round passes a Seam."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Conventions
from .seams import Conv2d, Seam

__all__ = [
    "ConvUnit",
    "MaxPool",
    "MeanPool",
    "from_phases",
    "initialise_backbone",
    "normalise",
    "scaled",
    "to_phases",
]


def scaled(channels: int, width: float) -> int:
    """Channel count at a width multiplier, never below 8."""
    return max(8, int(channels * width))


class ConvUnit(nn.Module):
    """Convolution, optional BatchNorm, activation; `result` is what leaves it.

    Sides keep their length at stride 1, whatever the kernel is, unless `padded` is False.

    Args:
        symmetric: Padded alike at both ends, whatever the conventions say.
        norm: "batch", or "none": then the convolution has a bias.
        linear: No activation.
        epsilon: Of BatchNorm.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int | tuple[int, int],
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        padded: bool = True,
        symmetric: bool = False,
        linear: bool = False,
        norm: str,
        epsilon: float = 1e-5,
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
        self.bn = nn.BatchNorm2d(outputs, eps=epsilon) if norm == "batch" else None
        self.epsilon = epsilon
        self.conventions = conventions
        self.padded, self.symmetric, self.linear = padded, symmetric, linear
        self.result = Seam()
        self.turned = False  # True: an even side is padded at the other end than `conventions` say

    def forward(self, x: Tensor, *, in_phases: bool = False) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h', w']; `in_phases` if `x` is `to_phases` of it."""
        conv = self.conv
        dilation = 1 if in_phases else conv.dilation[0]
        pads = [size // 2 * dilation if self.padded else 0 for size in conv.kernel_size]
        if any(pads) and conv.stride[0] == 2 and not self.symmetric:
            # TensorFlow's SAME: an even side has one padding less, at its start.
            short = int((self.conventions.padding == "tf_same") != self.turned)
            starts = [
                pad - short * (1 - side % 2) for pad, side in zip(pads, x.shape[-2:], strict=True)
            ]
            if starts != pads:
                x, pads = F.pad(x, (starts[1], pads[1], starts[0], pads[0])), [0, 0]
        weight = conv.used_weight()
        x = F.conv2d(x, weight, conv.bias, conv.stride, tuple(pads), dilation, conv.groups)
        if self.bn is not None:
            x = self.bn(x)
        if self.linear:
            return self.result(x)
        return self.result(F.relu6(x) if self.conventions.activation == "relu6" else F.relu(x))


class MaxPool(nn.Module):
    """The largest of each window."""

    def __init__(
        self, kernel: int, stride: int, *, padding: int = 0, round_up: bool = False
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.padding, self.round_up = padding, round_up
        self.result = Seam()

    def forward(self, x: Tensor) -> Tensor:
        options = (self.kernel, self.stride, self.padding, 1, self.round_up)
        return self.result(torch.max_pool2d(x, *options))


class MeanPool(nn.Module):
    """The mean of 3x3 neighbours, `dilation` cells apart; what lies outside counts as zero."""

    def __init__(self, dilation: int = 1) -> None:
        super().__init__()
        self.dilation = dilation
        self.result = Seam()

    def forward(self, x: Tensor) -> Tensor:
        if self.dilation == 1:
            return self.result(F.avg_pool2d(x, 3, 1, 1))
        channels, apart = x.shape[1], self.dilation
        ninth = torch.full((channels, 1, 3, 3), 1 / 9, dtype=x.dtype, device=x.device)
        return self.result(F.conv2d(x, ninth, None, 1, apart, apart, channels))


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
