"""The cut that a trained model ships with, chosen from its own maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bas_edge.metrics.label_free import network_cut
from bas_edge_training.methods import METHOD_NAMES, find_method
from bas_edge_training.models import BasModel, ModelConfig, build_model
from bas_edge_training.threshold import label_free_threshold, policy_of


def small(classes: int) -> BasModel:
    torch.manual_seed(0)
    config = ModelConfig(width=0.125, num_classes=classes, input_size=64)
    model = build_model(config).train()
    with torch.no_grad():  # mostly empty maps with a few peaks, as after training
        model.generator.conv.weight.mul_(8)
        model.generator.conv.bias.sub_(8)
    return model


FRAMES = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)


def test_it_is_the_cut_of_all_the_averaged_maps_together() -> None:
    model = small(3)
    policy = label_free_threshold(model, FRAMES)
    with torch.inference_mode():
        _, maps = model.eval()(torch.from_numpy(FRAMES).permute(0, 3, 1, 2))
    expected = network_cut(maps.mean(1).numpy())  # 3 classes: all are averaged
    assert policy is not None
    assert policy.rule == "fixed"
    assert policy.value == pytest.approx(expected, abs=1e-4)  # stored with four digits
    assert "20 unboxed maps" in policy.chosen_by


def test_top_k_decides_which_maps_are_cut_and_the_model_keeps_its_mode() -> None:
    model = small(5)
    one = label_free_threshold(model, FRAMES, top_k=1)
    every = label_free_threshold(model, FRAMES, top_k=5)
    assert one is not None
    assert every is not None
    assert one.value != every.value
    assert model.training


def test_maps_without_contrast_choose_nothing() -> None:
    model = small(3)
    for value in model.generator.parameters():
        torch.nn.init.zeros_(value)
    assert label_free_threshold(model, FRAMES) is None
    assert label_free_threshold(model, FRAMES[:0]) is None


def test_the_cam_family_is_cut_lower_than_bas() -> None:
    maps = np.zeros((3, 4, 5), np.float32)
    maps[:, 1, 1:] = 7  # a fifth of the cells; of any range
    chosen = {name: policy_of(maps, find_method(name)) for name in METHOD_NAMES}
    values = {name: policy.value for name, policy in chosen.items() if policy is not None}
    assert values == {name: 0.38 if name == "bas" else 0.3 for name in METHOD_NAMES}
    assert chosen["cam"] is not None
    assert chosen["cam"].chosen_by == "label-free: 1.5 × the mean of 3 unboxed maps, at most 0.7"
