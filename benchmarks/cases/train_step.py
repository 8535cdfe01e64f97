"""One training step of MobileNetV1-BAS with the published head, against the published loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..harness import Answer, Comparison, Session, WrongAnswerError

if TYPE_CHECKING:
    from torch import Tensor

    from bas_edge_training.models import BasModel
    from bas_edge_training.recipe import Recipe

__all__ = ["CASE", "LOOP", "batches"]

LOOP = "published loop"
CLASSES, SIDE, INPUTS = 200, 224, 3
BATCH = {"cpu": 8, "cuda": 32}  # 32 is the published one; a CPU takes seconds for 8
ERROR = 0.005  # of each loss: three steps magnify what float32 rounds


def _recipe() -> Recipe:
    from bas_edge_training.recipe import load_recipe

    return load_recipe("default", ["model.head=paper", "schedule.warmup_steps=0"])


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _model() -> BasModel:
    """As published: no dilation, padding to one side, BatchNorm; scores that are not about 0."""
    import torch

    from bas_edge_training.models import ModelConfig, build_model

    torch.manual_seed(0)
    config = ModelConfig(
        head="paper", num_classes=CLASSES, norm="batch", atrous=False, centred=False
    )
    model = build_model(config)
    torch.nn.init.constant_(model.head.classifier.bias, 1.0)
    return model


def batches(size: int) -> list[tuple[Tensor, Tensor]]:
    """INPUTS batches of noise, uint8 [N, H, W, 3], and labels [N]."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randint(0, 256, (size, SIDE, SIDE, 3), generator=generator, dtype=torch.uint8),
            torch.randint(0, CLASSES, (size,), generator=generator),
        )
        for _ in range(INPUTS)
    ]


def _ours(_: Path) -> Session:
    import torch

    from bas_edge_training.batches import Batch
    from bas_edge_training.machine import keep_freed_memory
    from bas_edge_training.trainer import Trainer

    keep_freed_memory()  # as every training run does
    device = _device()
    trainer = Trainer(_model(), _recipe(), torch.device(device))
    made = [Batch(frames, labels, frames[:0]) for frames, labels in batches(BATCH[device])]

    def call(index: int) -> Answer:
        figures = trainer.step(made[index], 1, 1.0)
        assert figures is not None
        return Answer([figures.ce, figures.fg, figures.bas, figures.area])

    return call


def _published(_: Path) -> Session:
    import torch

    from bas_edge_training.models import parameter_groups

    from ..published_training import PublishedLoop

    recipe, model, device = _recipe(), _model(), _device()
    model.to(device)
    options = recipe.optimizer
    optimizer = torch.optim.SGD(
        parameter_groups(
            model,
            options.lr,
            options.weight_decay,
            decay_depthwise=options.weight_decay_depthwise,
        ),
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
    )
    loop = PublishedLoop(model, optimizer, alpha=recipe.loss.alpha, beta=recipe.loss.beta)
    conventions = model.config.conventions
    mean, std = (
        torch.tensor(each).view(1, 3, 1, 1) for each in (conventions.mean, conventions.std)
    )
    made = [
        ((frames.permute(0, 3, 1, 2).contiguous().float() - mean) / std, labels)
        for frames, labels in batches(BATCH[device])
    ]

    def call(index: int) -> Answer:
        images, labels = made[index]
        return Answer(list(loop.step(images.to(device), labels.to(device))))

    return call


def _agree(answers: Mapping[str, NDArray[Any]]) -> str:
    """Losses [inputs, 4] of successive steps."""
    ours, theirs = answers["ours"], answers[LOOP]
    error = float(np.abs(ours / theirs - 1).max())
    if not error <= ERROR:  # a NaN is wrong too
        raise WrongAnswerError(f"losses differ by {100 * error:.2g} %: {ours} and {theirs}")
    return f"all four losses of {len(ours)} successive steps agree within {100 * error:.2g} %"


VARIANTS: dict[str, Callable[[Path], Session]] = {"ours": _ours, LOOP: _published}

CASE = Comparison(
    name="train_step",
    summary=f"a training step, paper head, batches of {BATCH['cpu']}, on a GPU {BATCH['cuda']}",
    variants=VARIANTS,
    agree=_agree,
    inputs=INPUTS,
    threads=2,
    targets={LOOP: 1.3},
    block_s=10.0,
)
