"""Pretrained files of torchvision's, timm's and Google's names, for every backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bas_edge.errors import InputError
from bas_edge_training.models import (
    BasModel,
    ModelConfig,
    build_model,
    find_backbone,
    load_pretrained,
)
from bas_edge_training.models.weights import BN_KEYS, backbone_units

NAMES = ("inception_v3", "mobilenet_v1", "mobilenet_v2", "resnet50", "vgg16")
DIALECTS = [(n, i) for n in NAMES for i in range(len(find_backbone(n).dialects))]
FRAMES = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0))

# Names and shapes of single tensors, as the libraries themselves have them at width 1.
KNOWN = {
    ("mobilenet_v2", "torchvision's"): {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.1.conv.2.running_var": (16,),
        "features.2.conv.0.0.weight": (96, 16, 1, 1),
        "features.2.conv.1.0.weight": (96, 1, 3, 3),
        "features.2.conv.2.weight": (24, 96, 1, 1),
        "features.17.conv.3.bias": (320,),
        "features.18.0.weight": (1280, 320, 1, 1),
    },
    ("mobilenet_v2", "timm's"): {
        "blocks.0.0.conv_dw.weight": (32, 1, 3, 3),
        "blocks.0.0.conv_pw.weight": (16, 32, 1, 1),
        "blocks.0.0.bn2.weight": (16,),
        "blocks.1.0.conv_pw.weight": (96, 16, 1, 1),
        "blocks.6.0.conv_pwl.weight": (320, 960, 1, 1),
        "blocks.6.0.bn3.weight": (320,),
        "conv_head.weight": (1280, 320, 1, 1),
    },
    ("mobilenet_v2", "Google's folded"): {"blocks.16.project.weight": (320, 960, 1, 1)},
    ("resnet50", "torchvision's and timm's"): {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.weight": (256,),
        "layer3.5.bn3.bias": (1024,),
        "layer4.0.conv2.weight": (512, 512, 3, 3),
    },
    ("vgg16", "torchvision's and timm's"): {
        "features.0.weight": (64, 3, 3, 3),
        "features.5.bias": (128,),
        "features.21.weight": (512, 512, 3, 3),
        "features.28.weight": (512, 512, 3, 3),
    },
    ("inception_v3", "torchvision's and timm's"): {
        "Conv2d_4a_3x3.conv.weight": (192, 80, 3, 3),
        "Mixed_6b.branch7x7dbl_2.conv.weight": (128, 128, 7, 1),
        "Mixed_7a.branch7x7x3_4.bn.weight": (192,),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
    },
}


def small(name: str, **options: Any) -> BasModel:
    torch.manual_seed(0)
    config = {"width": 0.25, "num_classes": 3, "input_size": 64, **options}
    return build_model(ModelConfig(architecture=name, **config))


def state_of(model: BasModel, names: Any) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for place, unit in backbone_units(model).items():
        conv, norm = names(place)
        state[f"{conv}.weight"] = unit.conv.weight.detach()
        if unit.conv.bias is not None:
            state[f"{conv}.bias"] = unit.conv.bias.detach()
        if norm:
            assert unit.bn is not None
            state |= {f"{norm}.{key}": unit.bn.state_dict()[key] for key in BN_KEYS}
            state[f"{norm}.num_batches_tracked"] = torch.tensor(5)
    return state | {"fc.weight": torch.zeros(7, 9)}


@pytest.mark.parametrize(("name", "family"), list(KNOWN))
def test_names_are_those_of_the_library(name: str, family: str) -> None:
    dialect = next(d for d in find_backbone(name).dialects if d.family == family)
    folded = family == "Google's folded" or not find_backbone(name).batch_norm
    with torch.device("meta"):
        model = small(name, width=1.0, norm="none" if folded else "batch")
    shapes = {key: tuple(value.shape) for key, value in state_of(model, dialect.names).items()}
    for key, shape in KNOWN[name, family].items():
        assert shapes[key] == shape, key


@pytest.mark.parametrize(("name", "index"), DIALECTS)
def test_every_dialect_restores_the_backbone(name: str, index: int, tmp_path: Path) -> None:
    dialect = find_backbone(name).dialects[index]
    first = next(iter(backbone_units(small(name))))
    source = small(name, norm="batch" if dialect.names(first)[1] else "none").eval()
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.running_mean, 0, 0.2)
    source.set_conventions(dialect.conventions)
    save_file(state_of(source, dialect.names), tmp_path / "weights.safetensors")
    target = small(name).eval()
    report = load_pretrained(target, tmp_path / "weights.safetensors")
    assert report.ignored == ("fc.weight",)
    assert report.conventions == dialect.conventions
    with torch.no_grad():
        got, wanted = target.features(FRAMES).deep, source.features(FRAMES).deep
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(target.tail(wanted), source.tail(wanted), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("held", "wanted"), [("resnet50", "vgg16"), ("mobilenet_v2", "resnet50")])
def test_a_file_of_another_backbone_says_whose_it_is(
    held: str, wanted: str, tmp_path: Path
) -> None:
    names = find_backbone(held).dialects[0].names
    norm = "batch" if held == "resnet50" else "none"
    save_file(state_of(small(held, norm=norm), names), tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=f"holds a {held}, and this model is a {wanted}") as caught:
        load_pretrained(small(wanted), tmp_path / "other.safetensors")
    assert f"model.architecture={held}" in (caught.value.hint or "")


def test_a_file_of_none_says_what_it_begins_with(tmp_path: Path) -> None:
    save_file({"encoder.0.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"none of the names of a resnet50; its first is encoder"):
        load_pretrained(small("resnet50"), tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("name", "more"),
    [("resnet50", "layer3.6.conv1.weight"), ("mobilenet_v2", "features.2.conv.1.fc1.weight")],
)
def test_a_deeper_network_is_not_cut_short(name: str, more: str, tmp_path: Path) -> None:
    """ResNet101 has all of ResNet50's tensors, and SE-networks those of the plain ones."""
    dialect = next(d for d in find_backbone(name).dialects if "torchvision" in d.family)
    state = state_of(small(name, norm="batch"), dialect.names) | {more: torch.zeros(3, 3, 1, 1)}
    save_file(state, tmp_path / "deeper.safetensors")
    with pytest.raises(InputError, match=f"but has {more}, so it is no {name}"):
        load_pretrained(small(name), tmp_path / "deeper.safetensors")
    with pytest.raises(InputError, match="none of the names of a vgg16"):
        load_pretrained(small("vgg16"), tmp_path / "deeper.safetensors")


def test_a_published_checkpoint_has_to_be_imported_first(tmp_path: Path) -> None:
    """InceptionV3's has torchvision's names, but other normalisation, and filters not dilated."""
    names = find_backbone("inception_v3").dialects[0].names
    state = state_of(small("inception_v3", norm="batch"), names)
    generator = {"classifier_loc.0.weight": torch.zeros(3, 192, 3, 3)}
    torch.save({"model": state | generator, "best_thr": 0.1}, tmp_path / "best_gt.pth.tar")
    with pytest.raises(InputError, match="a checkpoint that BAS published") as caught:
        load_pretrained(small("inception_v3"), tmp_path / "best_gt.pth.tar")
    assert "import-checkpoint" in (caught.value.hint or "")
