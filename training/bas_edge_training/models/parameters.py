"""Learning rates by part, as published."""

from __future__ import annotations

from typing import Any

from torch import nn

from .bas import BasModel

__all__ = ["parameter_groups"]


def parameter_groups(
    model: BasModel, lr: float, weight_decay: float, *, decay_depthwise: float = 0.0
) -> list[dict[str, Any]]:
    """Groups for torch.optim: backbone lr, its biases x2, heads x10, their biases x20.

    Args:
        model: The model whose parameters are optimised.
        lr: Learning rate of the backbone's weights.
        weight_decay: L2 factor of every group but one.
        decay_depthwise: L2 factor of the stem's and depthwise weights. Where BatchNorm is
            folded into them their scale carries meaning, and decay would shrink it.

    Each group has a "name" for logs, and "initial_lr" for schedules.
    """
    backbone: list[nn.Parameter] = []
    folded: list[nn.Parameter] = []
    backbone_bias: list[nn.Parameter] = []
    head: list[nn.Parameter] = []
    head_bias: list[nn.Parameter] = []
    for part in (model.trunk, model.tail):
        for module in part.modules():
            own = dict(module.named_parameters(recurse=False))
            if isinstance(module, nn.Conv2d):
                lone = module.groups > 1 or module.in_channels == 3  # the stem, or depthwise
                (folded if lone else backbone).append(own.pop("weight"))
            for name, value in own.items():
                (backbone_bias if name.endswith("bias") else backbone).append(value)
    for top in (model.head, model.generator):
        for name, value in top.named_parameters():
            (head_bias if name.endswith("bias") else head).append(value)
    table = (
        ("backbone", backbone, 1, weight_decay),
        ("backbone_spatial", folded, 1, decay_depthwise),
        ("backbone_bias", backbone_bias, 2, weight_decay),
        ("head", head, 10, weight_decay),
        ("head_bias", head_bias, 20, weight_decay),
    )
    return [
        {"name": name, "params": params, "lr": lr * factor, "initial_lr": lr * factor,
         "weight_decay": decay}
        for name, params, factor, decay in table
        if params
    ]  # fmt: skip
