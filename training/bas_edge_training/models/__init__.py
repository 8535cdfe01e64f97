"""BAS models, their losses and their pretrained weights."""

from __future__ import annotations

from .bas import BasModel, build_model
from .config import TENSORFLOW, TIMM, TORCHVISION, Conventions, ModelConfig
from .folding import fold_batch_norm
from .losses import BasLosses, LossConfig, bas_loss, erased_logits
from .mobilenet_v1 import Features
from .parameters import parameter_groups
from .seams import Conv2d, Seam
from .weights import PretrainedReport, load_pretrained

__all__ = [
    "TENSORFLOW",
    "TIMM",
    "TORCHVISION",
    "BasLosses",
    "BasModel",
    "Conv2d",
    "Conventions",
    "Features",
    "LossConfig",
    "ModelConfig",
    "PretrainedReport",
    "Seam",
    "bas_loss",
    "build_model",
    "erased_logits",
    "fold_batch_norm",
    "load_pretrained",
    "parameter_groups",
]
