"""Shapes, arithmetic cost and the two ways to compute a logit."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from bas_edge_training.models import (
    TENSORFLOW,
    TORCHVISION,
    Conventions,
    Features,
    ModelConfig,
    bas,
    build_model,
    depthwise,
    parameter_groups,
)

SMALL = {"width": 0.125, "num_classes": 5, "input_size": 64}


def multiply_accumulates(part: nn.Module, call: Any) -> int:
    """MACs of every convolution inside `part` while `call` runs."""
    total = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += output[0].numel() * module.weight[0].numel()

    convs = [m for m in part.modules() if isinstance(m, nn.Conv2d)]
    hooks = [conv.register_forward_hook(count) for conv in convs]
    call()
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize("head", ["paper", "edge"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_maps_have_stride_8_and_lie_in_0_1(head: Any, norm: Any) -> None:
    model = build_model(ModelConfig(head=head, norm=norm, **SMALL)).eval()
    logits, maps = model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    assert logits.shape == (2, 5)
    assert maps.shape == (2, 5, 8, 8)
    assert maps.dtype == logits.dtype == torch.float32
    assert 0 < maps.min() < maps.max() < 1


def test_full_size_features_are_28x28x512() -> None:
    with torch.device("meta"):
        model = build_model(ModelConfig(num_classes=2))
        features = model.features(torch.zeros(1, 3, 224, 224))
        assert features.deep.shape == features.fine.shape == (1, 512, 28, 28)


def test_edge_head_and_generator_cost_at_most_a_tenth_of_the_paper_head() -> None:
    cost = {}
    for head in ("paper", "edge"):
        with torch.device("meta"):  # shapes only: nothing is computed
            model = build_model(ModelConfig(head=head, num_classes=200)).eval()
            logits = partial(model.head.logits, torch.zeros(1, 1024, 14, 14))
            cells = torch.zeros(1, 512, 28, 28)
            maps = partial(model.generator, Features(cells, cells))
        cost[head, "head"] = multiply_accumulates(model.head, logits)
        cost[head, "generator"] = multiply_accumulates(model.generator, maps)
    assert cost["paper", "head"] == pytest.approx(3.7e9, rel=0.01)  # as published
    assert cost["edge", "head"] + cost["edge", "generator"] <= cost["paper", "head"] / 10


def test_pooling_before_the_classifier_gives_the_mean_of_the_class_maps() -> None:
    torch.manual_seed(0)
    for head in ("paper", "edge"):
        model = build_model(ModelConfig(head=head, **SMALL)).eval()
        frames = torch.randint(0, 256, (3, 3, 64, 64))
        pooled, _ = model(frames)
        averaged, cams = model.activation_maps(frames)
        assert cams.shape == (3, 5, 4, 4)
        torch.testing.assert_close(pooled, averaged)


@pytest.mark.parametrize("side", [15, 16])
def test_tf_same_pads_an_even_side_at_its_end_only(side: int) -> None:
    """An impulse in the first pixel reaches the first output only through the filter's corner."""
    outputs = {}
    for conventions in (TENSORFLOW, TORCHVISION):
        unit = build_model(ModelConfig(conventions=conventions, **SMALL)).trunk.stem
        nn.init.zeros_(unit.conv.weight)
        unit.conv.weight.data[:, :, 0, 0] = 1
        impulse = torch.zeros(1, 3, side, side)
        impulse[:, :, 0, 0] = 1
        outputs[conventions.padding] = unit(impulse)
        assert outputs[conventions.padding].shape[-1] == 8
    assert outputs["symmetric"].abs().sum() == 0
    assert (outputs["tf_same"].abs().sum() > 0) == (side % 2 == 0)


@pytest.mark.parametrize("conventions", [TENSORFLOW, TORCHVISION])
@pytest.mark.parametrize(("centred", "distance"), [(True, 0.5), (False, 3.5)])
def test_centred_cells_see_their_own_place(
    conventions: Conventions, centred: bool, distance: float
) -> None:
    """Symmetric filters: where a cell's gradient has its centre is where the cell looks."""
    config = ModelConfig(
        width=0.125, num_classes=2, input_size=224, conventions=conventions, centred=centred
    )
    trunk = build_model(config).trunk
    for name, weight in trunk.named_parameters():
        nn.init.ones_(weight) if name.endswith("weight") else nn.init.zeros_(weight)
        weight.data /= max(1, weight[0].numel())
    x = torch.full((1, 3, 224, 224), 0.1, requires_grad=True)
    cell = 14
    (seen,) = torch.autograd.grad(trunk(x).fine[:, :, cell, cell].sum(), x)
    pixels = torch.arange(224.0) + 0.5
    for axis in (2, 3):
        weight = seen.sum([a for a in range(4) if a != axis])
        looks_at = float((weight * pixels).sum() / weight.sum())
        assert abs(looks_at - 8 * (cell + 0.5)) == pytest.approx(distance, abs=0.01)


def test_parameter_groups_cover_every_parameter_once_with_the_published_rates() -> None:
    for norm in ("none", "batch"):
        model = build_model(ModelConfig(norm=norm, **SMALL))
        groups = parameter_groups(model, lr=1e-3, weight_decay=5e-4)
        grouped = [id(p) for group in groups for p in group["params"]]
        assert sorted(grouped) == sorted(id(p) for p in model.parameters())
        rates = {group["name"]: group["lr"] for group in groups}
        assert rates == pytest.approx(
            {
                "backbone": 1e-3,
                "backbone_spatial": 1e-3,
                "backbone_bias": 2e-3,
                "head": 1e-2,
                "head_bias": 2e-2,
            }
        )
        decay = {group["name"]: group["weight_decay"] for group in groups}
        assert decay.pop("backbone_spatial") == 0
        assert set(decay.values()) == {5e-4}


@pytest.mark.parametrize(
    "bad", [{"width": 0}, {"width": 3}, {"num_classes": 0}, {"input_size": 50}]
)
def test_impossible_configurations_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        ModelConfig(**{**SMALL, **bad})


@pytest.mark.parametrize("size", [64, 80])  # 80: the tail's maps are 5x5, which has no phases
@pytest.mark.parametrize("padding", ["tf_same", "symmetric"])
def test_phases_change_neither_values_nor_gradients(
    size: int, padding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training computes dilated filters phase by phase; inference and export do not."""
    torch.manual_seed(0)
    conventions = msgspec.structs.replace(TENSORFLOW, padding=padding)
    config = ModelConfig(width=0.125, num_classes=5, input_size=size, conventions=conventions)
    model = build_model(config).double()
    frames = torch.randint(0, 256, (2, 3, size, size))
    monkeypatch.setattr(bas, "normalise", lambda x, _: x.double() / 128 - 1)

    def gradients() -> list[torch.Tensor]:
        logits, maps = model(frames)
        weights = torch.linspace(-1, 1, maps.numel(), dtype=torch.float64).view_as(maps)
        return [logits, maps, *torch.autograd.grad((maps * weights).sum() + logits.square().sum(),
                                                   list(model.parameters()))]  # fmt: skip

    in_phases = gradients()
    monkeypatch.setattr(depthwise.torch, "is_grad_enabled", lambda: False)
    for got, wanted in zip(in_phases, gradients(), strict=True):
        torch.testing.assert_close(got, wanted)


def test_a_new_trunk_keeps_things_where_they_are() -> None:
    """A spot changes the features of its own cell most; random depthwise filters drift by 0.4."""
    for seed in range(4):
        torch.manual_seed(seed)
        config = ModelConfig(width=0.5, num_classes=2, input_size=96, atrous=False, centred=True)
        model = build_model(config).eval()
        dark = torch.zeros(1, 3, 96, 96)
        lit = dark.clone()
        lit[:, :, 40:48, 40:48] = 255  # cell 5
        with torch.no_grad():
            change = model.features(lit).deep - model.features(dark).deep
        change = change.abs().sum(1)[0]  # [12, 12]
        cells = torch.arange(12.0)
        for axis in (0, 1):
            centre = float((change.sum(axis) * cells).sum() / change.sum())
            assert centre == pytest.approx(5, abs=0.25), (seed, axis)


def test_a_checkpoint_that_does_not_say_is_of_the_published_form() -> None:
    """Written before `centred` was there, it must keep its geometry."""
    described = msgspec.json.encode(ModelConfig(num_classes=2)).replace(b'"centred":false,', b"")
    assert b"centred" not in described
    assert not msgspec.json.decode(described, type=ModelConfig).centred
