"""The mean of all class maps from one small generator: what distill.py fits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["MeanGenerator", "mean_map", "reading"]


@dataclass(frozen=True, slots=True)
class MeanGenerator:
    """foreground = sum over j of share[j] * sigmoid(conv_j(features)).

    Attributes:
        weight: float32 [J, channels, kernel, kernel], zero padding kernel // 2.
        bias: float32 [J].
        share: float32 [J], positive, summing to 1.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    share: NDArray[np.float32]


def mean_map(generator: MeanGenerator, features: Tensor) -> Tensor:
    """[N, channels, h, w] -> [N, 1, h, w], in the precision of the features."""
    weight, bias, share = (
        torch.from_numpy(array).to(features.dtype)
        for array in (generator.weight, generator.bias, generator.share)
    )
    parts = torch.sigmoid(F.conv2d(features, weight, bias, padding=weight.shape[-1] // 2))
    return (parts * share.view(1, -1, 1, 1)).sum(1, keepdim=True)


@contextmanager
def reading(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Inside, the list receives the input of the named layer at each forward pass."""
    seen: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_pre_hook(
        lambda _module, inputs: seen.append(inputs[0])
    )
    try:
        yield seen
    finally:
        hook.remove()
