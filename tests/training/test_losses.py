"""The Activation Map Constraint against a slow reading of the published formulas."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bas_edge_training.models import BasModel, LossConfig, ModelConfig, bas_loss, build_model

CONFIG = LossConfig(alpha=0.5, beta=1.9)


def published_loss(model: BasModel, frames: Tensor, labels: Tensor) -> Tensor:
    """Image by image, with deep copies of the erased layers, as the paper tells it."""
    tail, head = copy.deepcopy(model.tail), copy.deepcopy(model.head)
    for module in (tail, head):
        module.requires_grad_(False)
    features = model.features(frames)
    class_maps = model.head(model.tail(features.deep))
    foreground = torch.stack(
        [torch.sigmoid(model.generator(features))[i, c] for i, c in enumerate(labels)]
    ).unsqueeze(1)
    erased = head(tail(features.deep.detach() * (1 - foreground)))
    logits, total = class_maps.mean((2, 3)), torch.zeros(())
    pooled = F.avg_pool2d(foreground, 2)
    for i, c in enumerate(labels):
        score = max(float(logits[i, c].detach()), 0.0)
        background = F.relu(erased[i, c].mean())
        ratio = torch.ones(()) if background > score else background / (score + 1e-8)
        seen = (class_maps[i] * pooled[i]).mean((1, 2))
        total = total + (
            F.cross_entropy(logits[i], c)
            + CONFIG.alpha * F.cross_entropy(seen, c)
            + ratio
            + CONFIG.beta * foreground[i].mean()
        )
    return total / len(labels)


def small(head: Any, norm: Any = "none", seed: int = 0) -> tuple[BasModel, Tensor, Tensor]:
    torch.manual_seed(seed)
    config = ModelConfig(head=head, norm=norm, width=0.125, num_classes=4, input_size=64)
    frames = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8)
    return build_model(config), frames, torch.randint(0, 4, (6,))


@pytest.mark.parametrize("head", ["paper", "edge"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loss_and_every_gradient_equal_the_published_formula(head: str, seed: int) -> None:
    model, frames, labels = small(head, seed=seed)
    expected = published_loss(model, frames, labels)
    expected_grads = torch.autograd.grad(expected, list(model.parameters()))
    got = bas_loss(model, frames, labels, CONFIG)
    got.total.backward()
    torch.testing.assert_close(got.total, expected)
    for (name, parameter), wanted in zip(model.named_parameters(), expected_grads, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("head", ["paper", "edge"])
def test_background_term_teaches_only_the_map(head: str) -> None:
    model, frames, labels = small(head)
    with torch.no_grad():
        model.head.classifier.bias.fill_(1.0)  # every score is positive, so no ratio is flat
    bas_loss(model, frames, labels, CONFIG).background.backward()
    learnt = {name for name, p in model.named_parameters() if p.grad is not None}
    assert {name.partition(".")[0] for name in learnt} == {"trunk", "generator"}


def test_a_background_that_scores_above_the_image_counts_as_one_without_gradient() -> None:
    model, frames, labels = small("edge")
    with torch.no_grad():
        model.head.classifier.weight.mul_(-1).sub_(0.1)  # erasing features now raises the score
        model.head.classifier.bias.fill_(5.0)
    losses = bas_loss(model, frames, labels, CONFIG)
    assert float(losses.background.detach()) == 1.0
    losses.background.backward()
    assert all(not p.grad.any() for p in model.generator.parameters() if p.grad is not None)


def test_batch_statistics_see_each_image_once() -> None:
    """The erased images pass through BatchNorm too, but never enter its running averages."""
    model, frames, labels = small("edge", norm="batch")
    twin = copy.deepcopy(model)
    bas_loss(model, frames, labels, CONFIG)
    twin.activation_maps(frames)
    for (name, got), wanted in zip(model.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0, msg=name)


def test_losses_are_finite_where_the_score_is_zero() -> None:
    model, frames, labels = small("edge")
    with torch.no_grad():
        model.head.classifier.bias.fill_(-1e3)  # relu(S) = relu(S_bg) = 0
    losses = bas_loss(model, frames, labels, CONFIG)
    assert float(losses.background.detach()) == 0.0
    losses.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
