"""Whether timm's dilated form of a network reads what the network was trained on: tried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .timm_cut import Cut, prepared, row_outputs

__all__ = ["reads_alike"]

_ALIKE = 0.5  # of the values' size: it is 0.00 where filters read alike, above 1 where they do not
_MEANS = (Tensor.mean, torch.mean, F.adaptive_avg_pool2d)


def reads_alike(original: nn.Module, cut: Cut, dilated: nn.Module, its_cut: Cut) -> bool:
    """Whether a trunk of twice the cells has the original's among them: every other one.

    The modes of both are changed, and the weights: the dilated one's become the original's, with
    the statistics of its BatchNorm, and with what it averaged over all cells on its way (squeeze
    and excitation), which are others here.
    """
    frames = prepared(original)
    for module in original.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # one batch decides
    *_, _statistics = row_outputs(original, cut.trunk, frames)
    known = dilated.state_dict()
    state = {key: value for key, value in original.state_dict().items() if key in known}
    prepared(dilated)
    dilated.load_state_dict(state, strict=False)
    means = _Means()
    with means:
        *_, wanted = row_outputs(original.eval(), cut.trunk, frames)
        means.replayed = iter(means.recorded)
        *_, got = row_outputs(dilated.eval(), its_cut.trunk, frames)
    wanted = _without_mean(wanted)
    lattices = (_without_mean(got[:, :, at::2, at::2]) for at in (0, 1))  # TensorFlow's: the odd
    return min(float((cells - wanted).norm() / wanted.norm()) for cells in lattices) < _ALIKE


class _Means(TorchFunctionMode):
    """Records means over all cells of a map, in order; then gives them back instead of others."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: list[Tensor] = []
        self.replayed: Any = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func not in _MEANS or args[0].dim() != 4 or result.shape.numel() != _channels(args[0]):
            return result
        if self.replayed is None:
            self.recorded.append(result)
            return result
        same = next(self.replayed, None)
        return result if same is None or same.shape != result.shape else same


def _channels(x: Tensor) -> int:
    return x.shape[0] * x.shape[1]


def _without_mean(x: Tensor) -> Tensor:
    """Of each channel: what an image shows, not what all have in common."""
    return x - x.mean((2, 3), keepdim=True)
