"""BAS models, their losses and their pretrained weights."""

from __future__ import annotations

from .bas import BasModel, build_model
from .config import TENSORFLOW, TIMM, TORCHVISION, Conventions, ModelConfig
from .losses import BasLosses, LossConfig, bas_loss, erased_logits
from .mobilenet_v1 import Features
from .parameters import parameter_groups
from .weights import PretrainedReport, load_pretrained

__all__ = [
    "TENSORFLOW",
    "TIMM",
    "TORCHVISION",
    "BasLosses",
    "BasModel",
    "Conventions",
    "Features",
    "LossConfig",
    "ModelConfig",
    "PretrainedReport",
    "bas_loss",
    "build_model",
    "erased_logits",
    "load_pretrained",
    "parameter_groups",
]
