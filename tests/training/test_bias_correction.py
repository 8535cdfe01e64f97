"""Biases that make up for rounded weights."""

from __future__ import annotations

import numpy as np
import torch

from bas_edge_training.bias_correction import correct_biases
from bas_edge_training.models import ModelConfig, build_model
from bas_edge_training.models.layers import ConvUnit
from bas_edge_training.rounded_model import clear_rounding, observe_ranges, round_as


def test_the_rounded_model_is_nearer_to_float_afterwards() -> None:
    torch.manual_seed(1)
    model = build_model(ModelConfig(width=0.25, num_classes=3, input_size=64)).eval()
    frames = np.random.default_rng(2).integers(0, 256, (8, 64, 64, 3)).astype(np.uint8)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    ranges = observe_ranges(model, frames, flavour="tensorrt", method="min-max")

    def features(rounded: bool) -> torch.Tensor:
        round_as(model, ranges) if rounded else clear_rounding(model)
        with torch.no_grad():
            return model.features(pixels).deep.mean((0, 2, 3))

    exact = features(rounded=False)
    before = (features(rounded=True) - exact).square().sum()
    biases = [parameter.clone() for name, parameter in model.named_parameters() if "bias" in name]
    corrected = correct_biases(model, frames)
    after = (features(rounded=True) - exact).square().sum()
    assert corrected > 20
    assert (
        sum(
            not torch.equal(old, new)
            for old, new in zip(
                biases,
                (parameter for name, parameter in model.named_parameters() if "bias" in name),
                strict=True,
            )
        )
        == corrected
    )
    assert after < 0.5 * before


def test_a_mean_that_is_a_convolution_has_no_bias_to_correct() -> None:
    """InceptionV3's dilated poolings: the graph has weights there, the model has no module."""
    torch.manual_seed(1)
    config = ModelConfig(architecture="inception_v3", width=0.125, num_classes=3, input_size=64)
    model = build_model(config).eval()
    frames = np.random.default_rng(2).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    convolutions = [unit for unit in model.modules() if isinstance(unit, ConvUnit)]
    assert correct_biases(model, frames) == len(convolutions)
