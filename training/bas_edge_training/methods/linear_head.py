"""CAM, and Grad-CAM and LayerCAM at the last layer, where their gradients are known beforehand.

The head is a mean over cells and then linear, so with Z [D, h, w] what it reads,

    S_c = b_c + 1/(hw) * sum over cells ij and channels k of w_ck * Z_kij

and the gradient is the same at every cell, whatever the image: dS_c / dZ_kij = w_ck / (hw). What
the papers build of gradients is therefore a 1x1 convolution with constant weights, exactly, and
exports like any other. At any earlier layer it is not: see `gradients`.

Where class maps M_c pass a ReLU before the mean (`rectified`, the first release of BAS), the
gradient is that where M_c > 0, and 0 elsewhere: the same convolution, times where M_c is positive.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .activations import Activations

__all__ = ["cam", "grad_cam", "layer_cam"]


def cam(seen: Activations) -> Tensor:
    """M_c = sum over k of w_ck * Z_k (Zhou 2016, eq. 2), plus b_c: [N, C, h, w] of any sign.

    With the bias the mean of a map is its logit. It moves a whole map, and cuts are relative to
    the range of one.
    """
    return seen.class_maps


def grad_cam(seen: Activations) -> Tensor:
    """ReLU(sum over k of a_ck * Z_k), a_ck the mean gradient (Selvaraju 2017, eq. 1 and 2).

    [N, C, h, w], not negative. The mean of equal gradients is w_ck / (hw): the ReLU of CAM
    without its bias, as the paper's section 3 proves for such heads.
    """
    maps = F.conv2d(seen.last, _gradient(seen))
    if seen.model.head.rectified:
        maps = maps * _positive(seen).mean((2, 3), keepdim=True)
    return F.relu(maps)


def layer_cam(seen: Activations) -> Tensor:
    """ReLU(sum over k of ReLU(gradient) * Z_k), cell by cell (Jiang 2021, section III).

    [N, C, h, w], not negative. Equal gradients: CAM of the positive weights alone.
    """
    maps = F.conv2d(seen.last, F.relu(_gradient(seen)))
    if seen.model.head.rectified:
        maps = maps * _positive(seen)
    return F.relu(maps)


def _gradient(seen: Activations) -> Tensor:
    """dS_c / dZ_k, where it is not 0: [C, D, 1, 1]."""
    height, width = seen.last.shape[-2:]
    return seen.model.head.classifier.weight / (height * width)


def _positive(seen: Activations) -> Tensor:
    """1 where a rectified class map is positive, else 0: [N, C, h, w]."""
    return torch.sign(seen.class_maps)
