"""Eigen-CAM: the first principal component of the features, by power iteration.

Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299, section III: with O [cells, channels] the
features of one image, not centred, and O = U S V^T, the map is O v_1 = s_1 u_1. Class scores have
no part in it.

u_1 is also the first eigenvector of O O^T, and u <- O (O^T u), scaled, turns any start that is not
orthogonal to it into it: the rest shrinks by (s_2 / s_1)^2 a step. That is two products of a matrix
and a vector, which an exported graph can hold, a fixed number of times.

An SVD leaves the sign of u_1 open. Here the map's sum is never negative: the start is a vector of
ones, and no step changes the sign of its share in u_1. Features behind a ReLU make all of u_1 of
one sign (Perron-Frobenius), so their map is nowhere negative.
"""

from __future__ import annotations

from torch import Tensor

from .activations import Activations, Layer

__all__ = ["STEPS", "eigen_cam_at", "first_component"]

STEPS = 12
_TINY = 1e-30  # keeps features of zeros from 0 / 0; float32 holds it


def first_component(features: Tensor, steps: int = STEPS) -> Tensor:
    """Features [N, D, h, w] -> O v_1 up to a positive factor: [N, 1, h, w], largest magnitude 1.

    Features of zeros give a map of zeros.
    """
    height, width = features.shape[-2:]
    channels = features.flatten(2)  # O^T: [N, D, P], P = h * w
    cells = channels.transpose(1, 2)  # O: [N, P, D]
    weights = channels.mean(2, keepdim=True)  # O^T of the vector of ones, scaled: [N, D, 1]
    found = cells.matmul(weights)  # [N, P, 1]
    for _ in range(steps - 1):
        found = cells.matmul(channels.matmul(_scaled(found)))
    return _scaled(found).transpose(1, 2).reshape(-1, 1, height, width)


def eigen_cam_at(layer: Layer, seen: Activations) -> Tensor:
    """`first_component` of the features at a layer: [N, 1, h, w]."""
    return first_component(seen.at(layer))


def _scaled(vector: Tensor) -> Tensor:
    """[N, P, 1], so that the largest magnitude is 1."""
    return vector / (vector.abs().amax(1, keepdim=True) + _TINY)
