"""One training step, and everything that it changes."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from bas_edge.errors import BasEdgeError, InputError
from bas_edge_training.batches import Batch
from bas_edge_training.gradient_sum import GradientSum
from bas_edge_training.models import BasModel, LossConfig, parameter_groups
from bas_edge_training.recipe import LossSection, Recipe
from bas_edge_training.step_loss import StepLoss, exchange_statistics
from bas_edge_training.team import ALONE, Team

__all__ = [
    "FIGURES",
    "DivergenceError",
    "StepFigures",
    "Trainer",
    "risen",
    "to_network",
]

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


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
    """Model, optimizer and averaged weights: what a step changes and a resume restores.

    With several processes each has one, and all of them hold the same.
    """

    def __init__(
        self, model: BasModel, recipe: Recipe, device: torch.device, team: Team = ALONE
    ) -> None:
        """Move the model to the device.

        Raises:
            InputError: `training.precision` is float16 and the device is no GPU, or only some
                processes have GPUs.
        """
        hint = "Mend the driver where it has none, or use --set machine.device=cpu."
        team.must_agree("a device of the kind", device.type, hint=hint)
        options, self.training = recipe.optimizer, recipe.training
        self.dtype = _DTYPES.get(self.training.precision)
        if self.dtype is torch.float16 and device.type != "cuda":
            raise InputError(
                f"training.precision is float16, which needs a GPU; the device is {device}.",
                hint="Use --set training.precision=bfloat16, or float32.",
            )
        self.device, self.team = device, team
        self.model = model.to(device)
        if self.training.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has no overload for it
        self.loss = recipe.loss
        self.background_weight = recipe.background.weight
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
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)
        self.averaged = copy.deepcopy(self.model).eval() if self.training.ema else None
        if team.size > 1 and device.type == "cuda":  # torch has it for GPUs only
            exchange_statistics(self.model)
        self.losses = self._new_losses()
        if self.training.compile:
            self.losses.compile()
        self.gradients = GradientSum(self.model.parameters()) if team.size > 1 else None
        self.share()

    def _new_losses(self) -> StepLoss:
        return StepLoss(self.model)

    @property
    def result(self) -> BasModel:
        """The model to validate, save and export: the averaged one where there is one."""
        return self.model if self.averaged is None else self.averaged

    def step(self, batch: Batch, number: int, lr_factor: float) -> StepFigures | None:
        """One SGD step on a batch, of which each process of the team has a part.

        The loss is a mean over the images of all processes, and so is every figure.

        Returns:
            None where the whole batch has no labelled image: then nothing was done.

        Raises:
            DivergenceError: The loss is not finite. The weights have not been touched.
            InputError: torch.compile cannot compile the model.
        """
        images, empties = self.team.total([len(batch.labels), len(batch.background)])
        if not images:
            return None
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * lr_factor
        share = risen(self.loss, number)
        weights = LossConfig(self.loss.alpha, share * self.loss.beta, share)
        if self.gradients is None:
            self.optimizer.zero_grad(set_to_none=True)
        else:
            self.gradients.clear()
        found = []
        parts = self._parts(batch)
        for place, (frames, labels, background) in enumerate(parts, 1):
            if self.gradients is not None and place == len(parts):
                self.gradients.expect()
            with _compiling():
                with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                    losses = self.losses(frames, labels, background, empties > 0)
                    total = self.losses.weighted(losses, weights) * (len(labels) / images)
                    if empties:
                        part = len(background) / empties
                        total = total + share * self.background_weight * part * losses.empty
                # Scaled even where nothing was computed: the optimizer's step needs the scale.
                scaled = self.scaler.scale(total)
                if scaled.requires_grad:
                    scaled.backward()  # type: ignore[no-untyped-call]  # untyped in torch
            means = torch.stack([total.detach(), *losses]).detach()
            found.append((means, len(labels), len(background)))
        if self.gradients is not None:
            self.gradients.wait()
        figures = self._figures(found, int(images), int(empties))
        if not math.isfinite(figures.loss):
            raise DivergenceError(f"The loss became {figures.loss} at step {number}.")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._average(number)
        return figures

    def check_finite(self, number: int) -> None:
        """Raise DivergenceError where a weight is NaN or infinite."""
        for name, value in self.model.named_parameters():
            if not bool(torch.isfinite(value).all()):
                raise DivergenceError(f"The weights {name} are not finite after step {number}.")

    def share(self) -> None:
        """Give every process the weights and statistics of process 0.

        After equal steps only BatchNorm's differ, where its layers do not exchange them.
        """
        for model in (self.model, self.averaged):
            if model is not None:
                self.team.copy_from_lead(model.state_dict().values())

    def tensors(self) -> dict[str, Tensor]:
        """Everything that decides the next step, by name."""
        found = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            momentum = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                found[f"momentum.{name}"] = momentum
        if self.averaged is not None:
            found |= {f"averaged.{k}": v for k, v in self.averaged.state_dict().items()}
        if self.scaler.is_enabled():
            state = self.scaler.state_dict()
            found["scaler"] = torch.tensor([state["scale"], state["_growth_tracker"]])
        found["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            found["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up where `tensors()` was called, with any number of processes."""
        self.model.load_state_dict(_under("model.", tensors))
        momentum = _under("momentum.", tensors)
        for name, parameter in self.model.named_parameters():
            if name in momentum:
                buffer = torch.empty_like(parameter)  # keeps the memory format
                self.optimizer.state[parameter]["momentum_buffer"] = buffer.copy_(momentum[name])
        if self.averaged is not None:
            self.averaged.load_state_dict(_under("averaged.", tensors))
        if self.scaler.is_enabled() and "scaler" in tensors:
            scale, growth = tensors["scaler"].tolist()
            state = {"scale": scale, "_growth_tracker": int(growth)}
            self.scaler.load_state_dict(self.scaler.state_dict() | state)
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)

    def _parts(self, batch: Batch) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Frames, labels and background of each forward, on the device; some may be empty."""
        labels = batch.labels.to(self.device)
        split = [
            each.tensor_split(self.training.accumulate)
            for each in (self._frames(batch.frames), labels, self._frames(batch.background))
        ]
        return list(zip(*split, strict=True))

    def _figures(
        self, found: list[tuple[Tensor, int, int]], images: int, empties: int
    ) -> StepFigures:
        """Means over all images from those of each forward: (loss, *Losses), N and M."""
        if self.device.type == "cuda":
            # One that died is noticed here; the wait below would be for gradients of it.
            self.team.total([0.0])
        sums = [0.0] * len(FIGURES)
        for means, labelled, background in found:
            counts = (1, labelled, labelled, labelled, labelled, background, labelled)
            for place, mean in enumerate(means.tolist()):
                sums[place] += counts[place] * mean
        loss, ce, fg, bas, area, empty, top1 = self.team.total(sums)
        return StepFigures(
            loss=loss,
            ce=ce / images,
            fg=fg / images,
            bas=bas / images,
            area=area / images,
            empty=empty / empties if empties else 0.0,
            top1=top1 / images,
            images=images,
        )

    def _frames(self, frames: Tensor) -> Tensor:
        return to_network(frames, self.device, channels_last=self.training.channels_last)

    @torch.no_grad()
    def _average(self, number: int) -> None:
        """Exponential moving average of the weights; short at first, so that it can start."""
        if self.averaged is None:
            return
        decay = min(self.training.ema, (1 + number) / (10 + number))
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


@contextlib.contextmanager
def _compiling() -> Iterator[None]:
    """Say plainly that torch.compile failed; it compiles in the first forward and backward."""
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(
            f"training.compile is true, but torch.compile cannot compile the model here: {first}",
            hint="Leave training.compile out, or install what it needs: a C++ compiler, Triton.",
        ) from error


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
