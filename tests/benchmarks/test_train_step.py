"""The baseline of `train_step` computes the same loss and takes the same step as ours."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from bas_edge_training.batches import Batch
from bas_edge_training.models import ModelConfig, build_model, parameter_groups
from bas_edge_training.recipe import load_recipe
from bas_edge_training.trainer import Trainer
from benchmarks.cases.train_step import CASE, LOOP
from benchmarks.harness import WrongAnswerError
from benchmarks.published_training import PublishedLoop


def test_published_loop_and_ours_take_the_same_step() -> None:
    torch.manual_seed(3)
    config = ModelConfig(width=0.125, head="paper", num_classes=4, norm="batch", input_size=32)
    model = build_model(config)
    torch.nn.init.constant_(model.head.classifier.bias, 1.0)
    other = copy.deepcopy(model)
    recipe = load_recipe("default", ["model.head=paper"])
    trainer = Trainer(model, recipe, torch.device("cpu"))
    options = recipe.optimizer
    optimizer = torch.optim.SGD(
        parameter_groups(other, options.lr, options.weight_decay),
        momentum=options.momentum,
        nesterov=options.nesterov,
    )
    loop = PublishedLoop(other, optimizer, alpha=recipe.loss.alpha, beta=recipe.loss.beta)
    frames = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    labels = torch.tensor([3, 1, 1, 0])
    figures = trainer.step(Batch(frames, labels, frames[:0]), 1, 1.0)
    assert figures is not None
    conventions = config.conventions
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (conventions.mean, conventions.std))
    losses = loop.step((frames.permute(0, 3, 1, 2).float() - mean) / std, labels)
    assert (figures.ce, figures.fg, figures.bas, figures.area) == pytest.approx(losses, abs=1e-4)
    for (name, mine), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-3, msg=name)


def test_other_losses_are_a_wrong_answer() -> None:
    ours = np.array([[5.0, 5.0, 0.9, 0.5]])
    assert "within 0.1 %" in CASE.agree({"ours": ours, LOOP: ours * 1.001})
    for wrong in (ours * 1.1, ours * np.nan):
        with pytest.raises(WrongAnswerError, match="losses differ"):
            CASE.agree({"ours": ours, LOOP: wrong})
