from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import astuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bas_edge.errors import InputError
from bas_edge_training.batches import Batch
from bas_edge_training.gradient_sum import GradientSum
from bas_edge_training.models import ModelConfig, build_model
from bas_edge_training.recipe import LossSection, Recipe, apply_overrides
from bas_edge_training.step_loss import StepLoss, empty_loss, exchange_statistics
from bas_edge_training.team import Team
from bas_edge_training.trainer import (
    DivergenceError,
    Trainer,
    risen,
    to_network,
)

CPU = torch.device("cpu")


def make_trainer(recipe: Recipe, *overrides: str, norm: str = "batch") -> Trainer:
    torch.manual_seed(1)
    config = ModelConfig(width=0.125, num_classes=3, norm=norm, input_size=32)
    return Trainer(build_model(config), apply_overrides(recipe, overrides), CPU)


def make_batch(seed: int = 0, background: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (6 + background, 32, 32, 3), generator=generator)
    frames = frames.to(torch.uint8)
    return Batch(frames[:6], torch.tensor([0, 1, 2, 0, 1, 2]), frames[6:])


def assert_equal_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("override", ["training.precision=float32", "training.precision=bfloat16"])
def test_loss_falls_on_one_batch(tiny_recipe: Recipe, override: str) -> None:
    trainer = make_trainer(tiny_recipe, override)
    losses = [trainer.step(make_batch(), number, 1.0).ce for number in range(1, 16)]
    assert losses[-1] < 0.7 * losses[0]


def test_lr_factor_reaches_every_group(tiny_recipe: Recipe) -> None:
    trainer = make_trainer(tiny_recipe, "optimizer.lr=0.01")
    trainer.step(make_batch(), 1, 0.5)
    found = {group["name"]: group["lr"] for group in trainer.optimizer.param_groups}
    assert found == {
        "backbone": 0.005,
        "backbone_spatial": 0.005,
        "backbone_bias": 0.01,
        "head": 0.05,
        "head_bias": 0.1,
    }


def test_localization_terms_rise_to_their_weight_and_stay_there() -> None:
    loss = LossSection(warmup_steps=4)
    assert [risen(loss, number) for number in (1, 2, 4, 5)] == [0.25, 0.5, 1.0, 1.0]
    assert risen(LossSection(), 1) == 1.0


def test_warmup_reaches_every_localization_term_of_a_step(tiny_recipe: Recipe) -> None:
    options = ("loss.alpha=0.7", "loss.beta=2.0", "background.weight=0.5")
    trainer = make_trainer(tiny_recipe, *options, "loss.warmup_steps=10")
    row = trainer.step(make_batch(background=2), 3, 1.0)
    risen_terms = row.bas + 2.0 * row.area + 0.5 * row.empty
    assert row.loss == pytest.approx(row.ce + 0.7 * row.fg + 0.3 * risen_terms, rel=1e-5)
    assert row.empty != 0


def test_loss_that_is_not_finite_leaves_the_weights_alone(tiny_recipe: Recipe) -> None:
    trainer = make_trainer(tiny_recipe)
    with torch.no_grad():
        trainer.model.head.classifier.bias.fill_(math.inf)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    with pytest.raises(DivergenceError, match=r"The loss became (nan|inf) at step 7\."):
        trainer.step(make_batch(), 7, 1.0)
    assert_equal_tensors(before, dict(trainer.model.named_parameters()))
    with pytest.raises(DivergenceError, match=r"head\.classifier\.bias are not finite"):
        trainer.check_finite(7)


def test_restored_trainer_takes_the_same_next_step(tiny_recipe: Recipe) -> None:
    one = make_trainer(tiny_recipe, "training.ema=0.9")
    for number in (1, 2):
        one.step(make_batch(number), number, 1.0)
    saved = {name: value.clone() for name, value in one.tensors().items()}
    other = make_trainer(tiny_recipe, "training.ema=0.9")
    other.restore(saved)
    for trainer in (one, other):
        trainer.step(make_batch(3), 3, 0.7)
    assert_equal_tensors(one.tensors(), other.tensors())
    assert not torch.equal(saved["model.trunk.stem.conv.weight"],
                           one.tensors()["model.trunk.stem.conv.weight"])  # fmt: skip


@pytest.mark.parametrize("parts", [2, 4, 6])  # 4: 2, 2, 1, 1 images and 1, 1, 1, 0 without any
def test_accumulated_parts_of_a_batch_are_a_step_on_all_of_it(
    tiny_recipe: Recipe, parts: int
) -> None:
    whole = make_trainer(tiny_recipe, norm="none")
    options = ("data.batch_size=6", f"training.accumulate={parts}")
    split = make_trainer(tiny_recipe, *options, norm="none")
    for number in (1, 2):
        batch = make_batch(number, background=3)
        one, other = (trainer.step(batch, number, 1.0) for trainer in (whole, split))
        assert astuple(one) == pytest.approx(astuple(other), abs=1e-5)
    before = make_trainer(tiny_recipe, norm="none").tensors()
    for name, value in whole.tensors().items():
        if name.startswith("momentum."):
            torch.testing.assert_close(split.tensors()[name], value, atol=1e-5, rtol=1e-3)
            assert value.abs().max() > 1e-4
    assert before.keys() < whole.tensors().keys()


def test_a_batch_without_a_labelled_image_changes_nothing(tiny_recipe: Recipe) -> None:
    trainer, batch = make_trainer(tiny_recipe), make_batch(background=2)
    before = {name: value.clone() for name, value in trainer.tensors().items()}
    empty = Batch(batch.frames[:0], batch.labels[:0], batch.background)
    assert trainer.step(empty, 1, 1.0) is None
    assert_equal_tensors(before, trainer.tensors())


def test_a_loss_that_is_not_finite_shows_where_others_have_the_background_images() -> None:
    model = build_model(ModelConfig(width=0.125, num_classes=3, norm="none", input_size=32))
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    batch = make_batch()
    frames = batch.frames.permute(0, 3, 1, 2)
    found = StepLoss(model)(frames, batch.labels, frames[:0], with_background=True)
    assert bool(found.ce.isnan())
    assert bool(found.empty == 0)


def test_statistics_of_no_image_have_the_precision_that_those_of_some_have() -> None:
    """What SyncBatchNorm sends for an input of no images has that input's dtype."""
    model = build_model(ModelConfig(width=0.125, num_classes=3, norm="batch", input_size=32))
    losses = StepLoss(model)
    losses.synced = True
    seen: list[torch.dtype] = []
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    nothing = torch.zeros((0, 3, 32, 32), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(nothing, torch.zeros(0, dtype=torch.int64), nothing, with_background=True)
        assert [float(mean.detach()) for mean in found] == [0.0] * len(found)
        sum(found[:5]).backward()
        assert set(seen) == {torch.float32}
        model(torch.zeros((1, 3, 32, 32), dtype=torch.uint8))
        assert torch.bfloat16 in seen  # as it would be otherwise
    assert all(not value.grad.any() for value in model.parameters())


class OneOfTwo(Team):
    """Process 0 of two, of which the other has a CUDA device, and one image more of every kind."""

    def total(self, values: Sequence[float]) -> list[float]:
        return [value + 1 for value in values]

    def gather(self, value: Any) -> list[Any]:
        return [value, "cuda"]


def test_a_first_step_without_an_image_of_its_own_is_scaled(
    tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """float16 needs a GPU, its scaler does not."""
    trainer, batch = make_trainer(tiny_recipe, norm="none"), make_batch()
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    trainer.team = OneOfTwo(size=2)
    trainer.gradients = GradientSum(trainer.model.parameters())
    done = SimpleNamespace(wait=lambda: None)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda *_, **__: done)
    found = trainer.step(Batch(batch.frames[:0], batch.labels[:0], batch.background), 1, 1.0)
    assert found is not None
    assert trainer.tensors()["scaler"].tolist() == [8.0, 1.0]  # one step without overflow


def test_devices_of_different_kinds(tiny_recipe: Recipe) -> None:
    model = build_model(ModelConfig(width=0.125, num_classes=3, input_size=32))
    with pytest.raises(InputError) as caught:
        Trainer(model, tiny_recipe, CPU, OneOfTwo(size=2))
    assert str(caught.value) == ("Process 0 has a device of the kind cpu, process 1 has cuda.")


def test_float16_is_refused_on_a_cpu(tiny_recipe: Recipe) -> None:
    with pytest.raises(InputError, match="is float16, which needs a GPU; the device is cpu"):
        make_trainer(tiny_recipe, "training.precision=float16")


def test_torch_compile_that_fails_is_told_plainly(
    tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor.exc import InvalidCxxCompiler

    def fail(*_: object) -> None:
        raise InvalidCxxCompiler

    monkeypatch.setattr(StepLoss, "compile", lambda self: setattr(self, "forward", fail))
    trainer = make_trainer(tiny_recipe, "training.compile=true")
    with pytest.raises(InputError, match=r"torch\.compile cannot compile the model here: No w"):
        trainer.step(make_batch(), 1, 1.0)


def test_every_kind_of_batch_norm_exchanges_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ModelConfig(width=0.125, num_classes=3, norm="batch", input_size=32)
    model = build_model(config)
    weights = [id(parameter) for parameter in model.parameters()]
    exchange_statistics(model)
    assert StepLoss(model).synced
    assert not [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert [id(parameter) for parameter in model.parameters()] == weights  # the optimizer's

    class WithActivation(torch.nn.BatchNorm2d):
        """As timm's BatchNormAct2d, which torch's own conversion would replace by half of it."""

    converted: list[torch.nn.Module] = []
    layers = SimpleNamespace(convert_sync_batchnorm=converted.append)
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(layers=layers))
    monkeypatch.setitem(sys.modules, "timm.layers", layers)
    other = torch.nn.Sequential(WithActivation(2))
    exchange_statistics(other)
    assert converted == [other]


def test_average_follows_the_weights(tiny_recipe: Recipe) -> None:
    trainer = make_trainer(tiny_recipe, "training.ema=0.99")
    assert trainer.result is trainer.averaged
    start = trainer.model.generator.conv.weight.detach().clone()
    trainer.step(make_batch(), 1, 1.0)
    decay = 2 / 11  # short at first: (1 + step) / (10 + step)
    expected = decay * start + (1 - decay) * trainer.model.generator.conv.weight.detach()
    torch.testing.assert_close(trainer.result.generator.conv.weight, expected)
    assert make_trainer(tiny_recipe).averaged is None


def test_background_images_push_maps_down(tiny_recipe: Recipe) -> None:
    batch = make_batch(background=4)
    trainer = make_trainer(tiny_recipe, "background.weight=5")
    figures = [trainer.step(batch, number, 1.0) for number in range(1, 21)]
    assert figures[-1].empty < 0.7 * figures[0].empty
    assert make_trainer(tiny_recipe).step(make_batch(), 1, 1.0).empty == 0


def test_empty_loss_is_zero_only_where_nothing_stands_out() -> None:
    nothing = torch.zeros(2, 3, 4, 4)
    assert empty_loss(torch.full((2, 3), 1.7), nothing).item() == pytest.approx(0, abs=1e-6)
    assert empty_loss(torch.tensor([[3.0, 0.0, 0.0]]), nothing).item() > 0.3
    assert empty_loss(torch.zeros(2, 3), nothing + 0.25).item() == pytest.approx(0.25)


def test_frames_reach_the_network_without_a_copy() -> None:
    frames = make_batch().frames
    moved = to_network(frames, CPU)
    assert moved.shape == (6, 3, 32, 32)
    assert moved.data_ptr() == frames.data_ptr()
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert to_network(frames, CPU, channels_last=False).is_contiguous()
