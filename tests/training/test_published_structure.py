"""Every backbone against its published structure: shapes, parameters and arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bas_edge_training.models import BasModel, ModelConfig, build_model, find_backbone
from bas_edge_training.models.layers import ConvUnit

# Parameters of the published networks without their classifiers, BatchNorm's included.
PARAMETERS = {
    "mobilenet_v1": 3_206_976,
    "mobilenet_v2": 2_223_872,
    "vgg16": 14_714_688,
    "resnet50": 23_508_032,
    "inception_v3": 21_785_568,
}
# Multiply-accumulates of their convolutions for 224 pixels, at the strides of the original.
ARITHMETIC = {
    "mobilenet_v1": 567_716_352,
    "mobilenet_v2": 299_494_272,
    "vgg16": 15_346_630_656,
    "resnet50": 4_087_136_256,
}
CHANNELS = {  # of F, and of what the class head reads
    "mobilenet_v1": (512, 1024),
    "mobilenet_v2": (96, 1280),
    "vgg16": (512, 512),
    "resnet50": (1024, 2048),
    "inception_v3": (768, 2048),
}


def published(architecture: str, **options: Any) -> ModelConfig:
    norm = "batch" if find_backbone(architecture).batch_norm else "none"
    options = {"head": "paper", "num_classes": 200, "atrous": False, "norm": norm, **options}
    return ModelConfig(architecture=architecture, **options)


def arithmetic(model: BasModel, run: Callable[[], object]) -> int:
    """Multiply-accumulates of the backbone's convolutions while `run` runs."""
    total = 0

    def count(unit: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(unit, ConvUnit)
        total += output[0].numel() * unit.conv.weight[0].numel()

    units = [module for module in model.modules() if isinstance(module, ConvUnit)]
    hooks = [unit.register_forward_hook(count) for unit in units]
    run()
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_structure_is_the_published_one(name: str) -> None:
    with torch.device("meta"):  # shapes only: nothing is computed
        model = build_model(published(name))
        frames = torch.zeros(1, 3, 224, 224)
        features = model.features(frames)
        deep, wide = CHANNELS[name]
        assert features.deep.shape == (1, deep, 28, 28)
        assert features.fine is not None
        assert features.fine.shape == (1, model.trunk.fine_channels, 28, 28)
        tail = model.tail(features.deep)
        assert tail.shape == (1, wide, 14, 14)
        logits, maps = model(frames)
    assert (logits.shape, maps.shape) == ((1, 200), (1, 200, 28, 28))
    backbone = [*model.trunk.parameters(), *model.tail.parameters()]
    assert sum(parameter.numel() for parameter in backbone) == PARAMETERS[name]
    assert model.generator.conv.weight.shape == (200, deep, 3, 3)
    assert model.head.conv1.weight.shape == (1024, wide, 3, 3)


@pytest.mark.parametrize("name", list(ARITHMETIC))
def test_at_its_own_strides_it_costs_what_the_original_costs(name: str) -> None:
    stride = find_backbone(name).trained_stride
    with torch.device("meta"), torch.no_grad():
        model = build_model(published(name, map_stride=stride)).eval()
        frames = torch.zeros(1, 3, 224, 224)
        assert arithmetic(model, lambda: model(frames)) == ARITHMETIC[name]


def test_inception_costs_what_its_cells_say() -> None:
    """No network of this cut was published with a count: weights times cells, stage by stage."""
    cells = {"1a": 112, "2a": 110, "2b": 110, "3b": 56, "4a": 54, "5": 28, "6": 28}
    with torch.device("meta"), torch.no_grad():
        model = build_model(published("inception_v3")).eval()
        frames = torch.zeros(1, 3, 224, 224)
        counted = arithmetic(model, lambda: model.features(frames))
    expected = 0
    for path, unit in model.trunk.named_modules():
        if isinstance(unit, ConvUnit):
            stage = path.split("_")[1].split(".")[0]
            side = cells[stage if stage in cells else stage[0]]
            expected += unit.conv.weight.numel() * side**2
    assert counted == expected


def test_the_segmentation_resnet_is_the_published_one() -> None:
    with torch.device("meta"):
        model = build_model(published("resnet50", head="segmentation", map_stride=16))
        features = model.features(torch.zeros(1, 3, 448, 448))
        tail = model.tail(features.deep)
    assert features.deep.shape == (1, 1024, 28, 28)
    assert tail.shape == (1, 2048, 28, 28)
    assert (model.head.classifier.bias, model.generator.conv.bias) == (None, None)
