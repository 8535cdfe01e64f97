"""BatchNorm folded into the convolutions before it, as int8 engines run them."""

from __future__ import annotations

import msgspec
import torch

from .bas import BasModel
from .layers import ConvUnit

__all__ = ["fold_batch_norm"]


@torch.no_grad()
def fold_batch_norm(model: BasModel) -> BasModel:
    """The same function of frames in evaluation mode, as a model of norm "none".

    The model itself is left as it is, and returned where it has no BatchNorm.
    """
    if model.config.norm == "none":
        return model
    folded = BasModel(msgspec.structs.replace(model.config, norm="none"))
    folded.load_state_dict(model.state_dict(), strict=False)
    units = {n: m for n, m in model.named_modules() if isinstance(m, ConvUnit)}
    for name, unit in units.items():
        twin, bn = folded.get_submodule(name), unit.bn
        assert isinstance(twin, ConvUnit)
        assert twin.conv.bias is not None
        assert bn is not None
        assert bn.running_mean is not None
        assert bn.running_var is not None
        scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)  # [O]
        twin.conv.weight.copy_(unit.conv.weight * scale.view(-1, 1, 1, 1))
        twin.conv.bias.copy_(bn.bias - bn.running_mean * scale)
    return folded.train(model.training)
