"""Biases that make up for what rounding the weights does to the mean of each output channel.

`build-engine` does the same to a graph (docs/precision.md). A quantization-aware training that
begins with it begins where calibration alone ends, and not several decibels below.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bas_edge.quantization.codes import weight_codes
from bas_edge.quantization.histograms import TensorStatistics
from bas_edge.quantization.qdq import mean_shift, output_axis
from bas_edge_training.models import BasModel, Conv2d
from bas_edge_training.rounded_model import find_places, observe

__all__ = ["correct_biases"]


@torch.no_grad()
def correct_biases(model: BasModel, frames: NDArray[np.uint8]) -> int:
    """Change the biases of the layers that int8 quantizes; those without one stay as they are.

    Args:
        model: On any device, in any mode. If it was rounded, it is no more.
        frames: uint8 [M, H, W, 3] at network size, at least one.

    Returns:
        How many layers were corrected.
    """
    places = find_places(model, "tensorrt")  # weights are the same in both flavours
    layers = [layer for layer in places.layers if layer.node in places.weights]
    found = {layer.sources[0]: TensorStatistics() for layer in layers}
    observe(model, places, frames, {tensor: one.add for tensor, one in found.items()})
    corrected = 0
    for layer in layers:
        module, node = model.get_submodule(layer.node), places.graph.node(layer.node)
        assert isinstance(module, Conv2d)
        if module.bias is None:
            continue
        axis = output_axis(places.graph, node)
        weights = module.weight.detach().float().cpu().numpy()
        lost = weights - weight_codes(weights, axis).dequantized
        shift = mean_shift(places.graph, node, lost, found[layer.sources[0]].mean, axis)
        module.bias += torch.from_numpy(shift).to(module.bias)
        corrected += 1
    return corrected
