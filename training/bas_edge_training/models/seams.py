"""Where int8 rounds: places that tensors and weights pass through on their way.

They change nothing until quantization-aware training sets their `rounding`. They hold no
tensors, so a model has the same parameters and the same checkpoint with and without it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Conv2d", "Rounding", "Seam"]

Rounding = Callable[[Tensor], Tensor]


class Seam(nn.Module):
    """A tensor passes through: as it is, or through `rounding` where there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.rounding: Rounding | None = None

    def forward(self, x: Tensor) -> Tensor:
        return x if self.rounding is None else self.rounding(x)


class Conv2d(nn.Conv2d):
    """torch's convolution; `rounding`, where there is one, is applied to its weights."""

    rounding: Rounding | None = None

    def used_weight(self) -> Tensor:
        """What the convolution multiplies with: [O, I / groups, k, k]."""
        return self.weight if self.rounding is None else self.rounding(self.weight)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's own name for it)
        weight, bias = self.used_weight(), self.bias
        return F.conv2d(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)
