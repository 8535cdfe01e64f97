"""Rounding to int8 codes inside PyTorch, with gradients that pass straight through.

The arithmetic is that of ONNX's QuantizeLinear and DequantizeLinear: divide, round half to even,
saturate, multiply. torch's own fake_quantize multiplies with the reciprocal, which now and then
gives the neighbouring code, and takes seven times as long on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bas_edge.quantization.codes import Codes, Flavour

__all__ = ["TensorRounding", "WeightRounding"]

_WEIGHT_CODES = 127  # as bas_edge.quantization.codes.weight_codes


class _Round(torch.autograd.Function):
    """To multiples of a scale; backward as if nothing had happened.

    That is the straight-through estimator: Bengio et al., arXiv 1308.3432.
    """

    @staticmethod
    def forward(_ctx: Any, x: Tensor, scale: Tensor | float) -> Tensor:
        return x.div(scale).round_().mul_(scale)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


@dataclass(frozen=True, slots=True)
class TensorRounding:
    """Of a tensor of any shape. What is beyond the last codes saturates and has no gradient.

    Attributes:
        scale: Of one code.
        lowest, highest: The last codes, counted from that of zero.
    """

    scale: float
    lowest: int
    highest: int

    @classmethod
    def of(cls, codes: Codes, flavour: Flavour) -> TensorRounding:
        """What a QuantizeLinear with these codes does."""
        first, last = (-128, 127) if flavour == "tensorrt" else (0, 255)
        return cls(float(codes.scale), first - codes.zero, last - codes.zero)

    def __call__(self, x: Tensor) -> Tensor:
        inside = F.hardtanh(x.float(), self.scale * self.lowest, self.scale * self.highest)
        rounded: Tensor = _Round.apply(inside, self.scale)  # type: ignore[no-untyped-call]  # untyped in torch
        return rounded.to(x.dtype)


@dataclass(frozen=True, slots=True)
class WeightRounding:
    """Of weights [O, ...]: symmetric, each output channel up to its own largest weight now."""

    def __call__(self, weight: Tensor) -> Tensor:
        reach = weight.detach().abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True)
        scales = torch.where(reach > 0, reach / _WEIGHT_CODES, torch.ones_like(reach))
        rounded: Tensor = _Round.apply(weight, scales)  # type: ignore[no-untyped-call]  # untyped in torch
        return rounded
