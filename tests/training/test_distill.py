"""The mean map: fitted where the classes' generators agree, refused where they do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge_training.distill import MIN_BOX_IOU, distil
from bas_edge_training.graph import contract_graph, replace_by_mean
from bas_edge_training.mean_generator import mean_map, reading
from bas_edge_training.models import BasModel
from bas_edge_training.parity import run_onnx
from bas_edge_training.samples import synthetic_samples

THRESHOLD = ThresholdPolicy(rule="mean", value=1.5)
FRAMES = synthetic_samples(side=64, count=48).frames
LAYER = "generator.conv"


def agreeing(model: BasModel) -> BasModel:
    """Every class has nearly the same generator, as after training on one kind of object."""
    conv = model.generator.conv
    with torch.no_grad():
        conv.weight.copy_(4 * conv.weight[:1] + 0.02 * conv.weight)
        conv.bias.copy_(conv.bias[:1] + 0.02 * conv.bias)
    return model


@pytest.mark.parametrize("head", ["edge", "paper"])
def test_agreeing_classes_need_few_filters(make_model: Callable[..., BasModel], head: str) -> None:
    model = agreeing(make_model(head, classes=12))
    fit = distil(model, LAYER, FRAMES, threshold=THRESHOLD)
    assert fit.accepted
    assert fit.box_iou >= MIN_BOX_IOU
    assert fit.parts <= 2
    assert (fit.images, fit.held_out) == (36, 12)

    graph = replace_by_mean(contract_graph(model), fit.generator)
    with torch.no_grad(), reading(model, LAYER) as inputs:
        maps = model(torch.from_numpy(FRAMES[:5]).permute(0, 3, 1, 2))[1]
    got = run_onnx(graph, FRAMES[:5])["foreground"]
    expected = mean_map(fit.generator, inputs[0]).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)
    spread = float(maps.mean(1).max() - maps.mean(1).min())
    assert np.abs(got[:, 0] - maps.mean(1).numpy()).mean() < 0.05 * spread


def test_fit_is_deterministic(make_model: Callable[..., BasModel]) -> None:
    model = agreeing(make_model("edge"))
    first, second = (distil(model, LAYER, FRAMES[:8], threshold=THRESHOLD) for _ in range(2))
    np.testing.assert_array_equal(first.generator.weight, second.generator.weight)
    np.testing.assert_array_equal(first.generator.share, second.generator.share)
    assert first.box_iou == second.box_iou


def test_disagreeing_classes_are_refused(make_model: Callable[..., BasModel]) -> None:
    model = make_model("edge", classes=8)
    with torch.no_grad():
        model.generator.conv.weight.mul_(100)  # saturated maps, different for each class
    lines: list[str] = []
    fit = distil(model, LAYER, FRAMES, threshold=THRESHOLD, report=lines.append)
    assert not fit.accepted
    assert fit.box_iou < MIN_BOX_IOU
    assert len(lines) == 3  # one filter, two, four: half of eight


def test_shares_are_a_weighted_mean(make_model: Callable[..., BasModel]) -> None:
    fit = distil(agreeing(make_model("edge")), LAYER, FRAMES[:8], threshold=THRESHOLD)
    assert fit.generator.share.min() > 0
    assert fit.generator.share.sum() == pytest.approx(1, abs=1e-6)
