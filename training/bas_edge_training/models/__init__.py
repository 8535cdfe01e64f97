"""BAS models, their losses and their pretrained weights."""

from __future__ import annotations

from .backbone import Backbone, Dialect, Features, Tail, Trunk
from .bas import BasModel, build_model
from .config import TENSORFLOW, TIMM, TORCHVISION, Conventions, ModelConfig
from .folding import fold_batch_norm
from .layers import ConvUnit
from .losses import BasLosses, LossConfig, bas_loss, erased_logits, weighted_loss
from .parameters import parameter_groups
from .registry import backbone_names, find_backbone, register_backbone
from .seams import Conv2d, Seam
from .weights import PretrainedReport, load_pretrained

__all__ = [
    "TENSORFLOW",
    "TIMM",
    "TORCHVISION",
    "Backbone",
    "BasLosses",
    "BasModel",
    "Conv2d",
    "ConvUnit",
    "Conventions",
    "Dialect",
    "Features",
    "LossConfig",
    "ModelConfig",
    "PretrainedReport",
    "Seam",
    "Tail",
    "Trunk",
    "backbone_names",
    "bas_loss",
    "build_model",
    "erased_logits",
    "find_backbone",
    "fold_batch_norm",
    "load_pretrained",
    "parameter_groups",
    "register_backbone",
    "weighted_loss",
]
