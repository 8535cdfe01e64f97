"""Grad-CAM and LayerCAM at any layer, by backpropagation from one class score an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .activations import Activations, Layer

__all__ = ["grad_cam_at", "layer_cam_at", "score_gradient"]


def score_gradient(seen: Activations, classes: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """Features A at a layer, and dS_c / dA of one class an image: two of [N, D, h, w].

    Methods that ask for the same classes share it.

    Only what comes after the layer is differentiated. The logit is meant, before any softmax, as
    in all these papers. Works inside `torch.inference_mode` and leaves no gradient behind.
    """
    key = (layer, tuple(classes.tolist()))
    found = seen.at(layer)
    if key in seen.gradients:
        return found, seen.gradients[key]
    with torch.inference_mode(False), torch.enable_grad():
        at = found.detach().clone().requires_grad_()
        logits = seen.onward(layer)(at)
        own = logits.gather(1, classes.detach().clone()[:, None])
        (gradient,) = torch.autograd.grad(own.sum(), at)  # images do not see each other
    seen.gradients[key] = gradient
    return found, gradient


def grad_cam_at(layer: Layer, seen: Activations, classes: Tensor) -> Tensor:
    """ReLU(sum over k of a_k * A_k), a_k the mean of dS_c / dA_k over cells: [N, h, w].

    Selvaraju et al., ICCV 2017, eq. 1 and 2.
    """
    features, gradient = score_gradient(seen, classes, layer)
    weights = gradient.mean((2, 3), keepdim=True)
    return F.relu((weights * features).sum(1))


def layer_cam_at(layer: Layer, seen: Activations, classes: Tensor) -> Tensor:
    """ReLU(sum over k of ReLU(dS_c / dA_k) * A_k), cell by cell: [N, h, w].

    Jiang et al., IEEE TIP 2021, section III. Its scaling of shallow layers (tanh), which serves
    the fusion of several, is left out: one layer is shown.
    """
    features, gradient = score_gradient(seen, classes, layer)
    return F.relu((F.relu(gradient) * features).sum(1))
