"""One training step, and everything that it changes."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from bas_edge.errors import BasEdgeError
from bas_edge_training.batches import Batch
from bas_edge_training.models import BasLosses, BasModel, LossConfig, bas_loss, parameter_groups
from bas_edge_training.recipe import LossSection, Recipe

__all__ = [
    "FIGURES",
    "DivergenceError",
    "StepFigures",
    "Trainer",
    "empty_loss",
    "risen",
    "to_network",
]


class DivergenceError(BasEdgeError):
    """The loss or the weights are no longer finite."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """Means over one batch; `empty` is 0 without background images. See docs/training.md."""

    loss: float
    ce: float
    fg: float
    bas: float
    area: float
    empty: float
    top1: float
    images: int


FIGURES = tuple(field.name for field in fields(StepFigures) if field.name != "images")


class Trainer:
    """Model, optimizer and averaged weights: what a step changes and a resume restores."""

    def __init__(self, model: BasModel, recipe: Recipe, device: torch.device) -> None:
        options = recipe.optimizer
        self.channels_last = recipe.training.channels_last
        self.device = device
        self.model = model.to(device)
        if self.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has no overload for it
        self.loss = recipe.loss
        self.background_weight = recipe.background.weight
        self.autocast = recipe.training.precision == "bfloat16"
        self.optimizer = torch.optim.SGD(
            parameter_groups(
                self.model,
                options.lr,
                options.weight_decay,
                decay_depthwise=options.weight_decay_depthwise,
            ),
            lr=options.lr,
            momentum=options.momentum,
            nesterov=options.nesterov,
        )
        self.decay = recipe.training.ema
        self.averaged = copy.deepcopy(self.model).eval() if self.decay else None

    @property
    def result(self) -> BasModel:
        """The model to validate, save and export: the averaged one where there is one."""
        return self.model if self.averaged is None else self.averaged

    def step(self, batch: Batch, number: int, lr_factor: float) -> StepFigures:
        """One SGD step on a batch with at least one labelled image.

        Raises:
            DivergenceError: The loss is not finite. The weights have not been touched.
        """
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * lr_factor
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            share = risen(self.loss, number)
            weights = LossConfig(self.loss.alpha, share * self.loss.beta, share)
            losses = self.losses(batch, weights)
            total, empty = losses.total, torch.zeros((), device=self.device)
            if len(batch.background):
                empty = empty_loss(*self.model(self._frames(batch.background)))
                total = total + share * self.background_weight * empty
        value = total.item()
        if not math.isfinite(value):
            raise DivergenceError(f"The loss became {value} at step {number}.")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        self.optimizer.step()
        self._average(number)
        return StepFigures(
            loss=value,
            ce=losses.classification.item(),
            fg=losses.foreground.item(),
            bas=losses.background.item(),
            area=losses.area.item(),
            empty=empty.item(),
            top1=self.right(losses.logits, batch).float().mean().item(),
            images=len(batch.labels),
        )

    def losses(self, batch: Batch, weights: LossConfig) -> BasLosses:
        """The losses of the labelled images of a batch."""
        return bas_loss(
            self.model, self._frames(batch.frames), batch.labels.to(self.device), weights
        )

    def right(self, logits: Tensor, batch: Batch) -> Tensor:
        """Whether the best class of each image is right, from logits [N, C]: [N]."""
        return logits.argmax(1) == batch.labels.to(self.device)

    def check_finite(self, number: int) -> None:
        """Raise DivergenceError where a weight is NaN or infinite."""
        for name, value in self.model.named_parameters():
            if not bool(torch.isfinite(value).all()):
                raise DivergenceError(f"The weights {name} are not finite after step {number}.")

    def tensors(self) -> dict[str, Tensor]:
        """Everything that decides the next step, by name."""
        found = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            momentum = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                found[f"momentum.{name}"] = momentum
        if self.averaged is not None:
            found |= {f"averaged.{k}": v for k, v in self.averaged.state_dict().items()}
        found["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            found["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up where `tensors()` was called."""
        self.model.load_state_dict(_under("model.", tensors))
        momentum = _under("momentum.", tensors)
        for name, parameter in self.model.named_parameters():
            if name in momentum:
                buffer = torch.empty_like(parameter)  # keeps the memory format
                self.optimizer.state[parameter]["momentum_buffer"] = buffer.copy_(momentum[name])
        if self.averaged is not None:
            self.averaged.load_state_dict(_under("averaged.", tensors))
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)

    def _frames(self, frames: Tensor) -> Tensor:
        return to_network(frames, self.device, channels_last=self.channels_last)

    @torch.no_grad()
    def _average(self, number: int) -> None:
        """Exponential moving average of the weights; short at first, so that it can start."""
        if self.averaged is None:
            return
        decay = min(self.decay, (1 + number) / (10 + number))
        mine = self.averaged.state_dict()
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                mine[name].lerp_(value, 1 - decay)
            else:
                mine[name].copy_(value)


def risen(loss: LossSection, number: int) -> float:
    """How far the localization terms have risen at step `number`, counted from 1: 0 to 1."""
    return min(1.0, number / loss.warmup_steps) if loss.warmup_steps else 1.0


def to_network(frames: Tensor, device: torch.device, *, channels_last: bool = True) -> Tensor:
    """uint8 [N, H, W, 3] -> uint8 [N, 3, H, W] on the device; a view where it can be one."""
    moved = frames.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return moved if channels_last else moved.contiguous()


def empty_loss(logits: Tensor, maps: Tensor) -> Tensor:
    """What images without any object should bring to 0: no class stands out, every map is empty.

    Args:
        logits: [M, C].
        maps: [M, C, h, w] in (0, 1).

    Returns:
        The divergence of softmax(logits) from uniform, plus the mean of the maps; a scalar.
    """
    spread = -F.log_softmax(logits.float(), 1).mean() - math.log(logits.shape[1])
    return spread + maps.float().mean()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
