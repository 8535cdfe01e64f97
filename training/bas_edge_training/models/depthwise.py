"""Blocks around a depthwise filter, and how to run a row of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .layers import ConvUnit, from_phases, to_phases

__all__ = ["DepthwiseBlock", "run_blocks"]


class DepthwiseBlock(nn.Module):
    """A block whose only spatial filter is `dw`."""

    dw: ConvUnit

    def forward(self, x: Tensor, *, in_phases: bool = False) -> Tensor:
        """`in_phases` if `x` is `to_phases` of the map; the result is then as well."""
        raise NotImplementedError


def run_blocks(blocks: Iterable[nn.Module], x: Tensor) -> Tensor:
    """All blocks in turn.

    Where gradients are wanted, consecutive blocks dilated at stride 1 run in phases: on CPUs
    PyTorch's backward of a dilated depthwise convolution is some fifty times slower than that
    of an ordinary one. Values and gradients are the same.
    """
    in_phases = False
    for block in blocks:
        assert isinstance(block, DepthwiseBlock)
        conv = block.dw.conv
        even = in_phases or not any(side % 2 for side in x.shape[-2:])
        wanted = torch.is_grad_enabled() and conv.dilation[0] == 2 and even
        if wanted != in_phases:
            x = to_phases(x) if wanted else from_phases(x)
            in_phases = wanted
        x = block(x, in_phases=in_phases)
    return from_phases(x) if in_phases else x
