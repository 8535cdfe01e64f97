"""`timm:NAME`: where networks are cut, what they compute, and the way to a box."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes.timm_networks import MEAN, STD, create_model, fake_timm
from safetensors.torch import save_file
from torch import nn

from bas_edge import Localizer, build_engine
from bas_edge.errors import InputError, MissingExtraError
from bas_edge.quantization.job import PrecisionJob
from bas_edge_training import train
from bas_edge_training.exporting import export
from bas_edge_training.models import (
    BasModel,
    LossConfig,
    ModelConfig,
    bas_loss,
    build_model,
    find_backbone,
    load_pretrained,
    parameter_groups,
    timm_networks,
)
from bas_edge_training.models.config import TORCHVISION
from bas_edge_training.models.looking import displacement
from bas_edge_training.progress import SilentReporter
from bas_edge_training.recipe import load_recipe
from bas_edge_training.run_model import new_model

SIDE = 64


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture(autouse=True)
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", fake_timm())
    for cached in (timm_networks.timm_backbone, timm_networks._cut, timm_networks._cuts):
        cached.cache_clear()


def config(name: str, **options: Any) -> ModelConfig:
    options = {"num_classes": 3, "map_stride": 16, "norm": "batch", "input_size": SIDE, **options}
    return ModelConfig(architecture=f"timm:{name}", **options)


def lively(name: str, **options: Any) -> BasModel:
    """In evaluation mode, with weights of which none is 0 or 1."""
    torch.manual_seed(0)
    model = build_model(config(name, **options)).eval()
    for key, value in [*model.named_parameters(), *model.named_buffers()]:
        if value.dim() == 1 and value.is_floating_point():
            nn.init.uniform_(value, *((-0.2, 0.2) if key.endswith("bias") else (0.5, 1.5)))
    return model


def whole(model: BasModel, name: str) -> nn.Module:
    """The network of timm with the weights of a model, and its own head."""
    network = create_model(name).eval()
    state = {
        key.partition(".")[2]: value
        for key, value in model.state_dict().items()
        if key.startswith(("trunk.", "tail."))
    }
    missing = network.load_state_dict(state, strict=False).missing_keys
    assert {key.partition(".")[0] for key in missing} <= {"fc", "head"}
    return network


@pytest.mark.parametrize("name", ["resnet", "convnext", "only_features"])
def test_trunk_and_tail_are_the_network_itself(name: str) -> None:
    model = lively(name)
    frames = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        features = model.trunk(frames)
        got = model.tail(features.deep)
        torch.testing.assert_close(got, whole(model, name).forward_features(frames))
    assert features.deep.shape == (2, 24, 4, 4)
    assert features.fine.shape == (2, 24, 4, 4)
    assert not torch.equal(features.fine, features.deep)
    assert model.tail.channels == got.shape[1] == 32


def test_finer_features_leave_the_first_block_not_a_layer() -> None:
    assert timm_networks._cut("timm:resnet").fine == "layer3.0"
    assert timm_networks._cut("timm:convnext").fine == "stages.2.blocks.0"


@pytest.mark.parametrize("name", ["resnet", "only_features"])
def test_at_map_stride_8_filters_read_what_they_were_trained_on(name: str) -> None:
    """Every other cell is the original's; squeezing sees other cells, so it is switched off."""
    fine, coarse = lively(name, map_stride=8), lively(name)
    for key, value in fine.named_parameters():
        if ".squeeze." in key:
            nn.init.zeros_(value)
    coarse.load_state_dict(fine.state_dict())
    frames = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        got, wanted = fine.trunk(frames), coarse.trunk(frames)
        assert got.deep.shape == (2, 24, 8, 8)
        torch.testing.assert_close(got.deep[:, :, ::2, ::2], wanted.deep)
        torch.testing.assert_close(got.fine[:, :, ::2, ::2], wanted.fine)
        assert fine.tail(got.deep).shape == (2, 32, 4, 4)


@pytest.mark.parametrize(
    ("name", "stride", "pixels"), [("resnet", 16, 7), ("resnet", 8, 3), ("convnext", 16, 0)]
)
def test_frames_move_so_that_cells_see_their_own_middle(
    name: str, stride: int, pixels: int
) -> None:
    assert lively(name, map_stride=stride).trunk.displacement == 0
    assert lively(name, map_stride=stride, centred=True).trunk.displacement == pixels


def test_where_cells_look_is_followed_through_padding_and_pooling() -> None:
    class Trunk(nn.Module):
        def __init__(self, *layers: nn.Module) -> None:
            super().__init__()
            self.layers = nn.Sequential(*layers)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.layers(x),)

    same = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 3, 3, 2))  # TensorFlow's SAME
    assert displacement(Trunk(same, nn.AvgPool2d(2)), 4) == 0  # half a pixel, towards 0
    assert displacement(Trunk(same, nn.Conv2d(3, 3, 5, 4, 0)), 8) == -1  # 0.5 + 2 * 0.5
    assert displacement(Trunk(nn.Conv2d(3, 3, 3, 2, 1), nn.MaxPool2d(3, 2, 1)), 4) == 1
    assert displacement(Trunk(nn.PixelUnshuffle(4)), 4) is None


def test_its_own_initialisation_and_normalisation_stay() -> None:
    torch.manual_seed(3)
    model = build_model(config("resnet", conventions=find_backbone("timm:resnet").conventions))
    torch.manual_seed(3)
    own = create_model("resnet").state_dict()
    for key, value in model.trunk.state_dict().items():
        assert torch.equal(value, own[key])
    assert model.config.conventions.mean == tuple(255 * value for value in MEAN)
    assert model.config.conventions.std == tuple(255 * value for value in STD)


@pytest.mark.parametrize("name", ["resnet", "convnext"])
def test_every_parameter_learns(name: str) -> None:
    model = build_model(config(name)).train()
    groups = parameter_groups(model, 0.1, 0.0)
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert sorted(map(id, grouped)) == sorted(map(id, model.parameters()))
    losses = bas_loss(model, torch.rand(4, 3, SIDE, SIDE) * 255, torch.arange(4) % 3, LossConfig())
    losses.total.backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates[id(model.trunk.get_parameter(_weight(name)))] == pytest.approx(0.1)


def _weight(name: str) -> str:
    return {"resnet": "layer3.1.conv2.weight", "convnext": "stages.2.blocks.1.fc2.weight"}[name]


@pytest.mark.parametrize(
    ("name", "stride", "precision"), [("resnet", 8, "int8"), ("convnext", 16, "fp32")]
)
def test_from_checkpoint_to_box(
    name: str, stride: int, precision: Any, tmp_path: Path,
    make_checkpoint: Callable[..., Path], image_folder: Path,
) -> None:  # fmt: skip
    """Export holds PyTorch against the graph itself; int8 is made from that graph."""
    model = lively(name, map_stride=stride, centred=True)
    export(make_checkpoint(model), tmp_path / "net.onnx", simplify=False)
    job = PrecisionJob(image_folder, method="min-max", force=True, search_budget_s=0)
    engine = build_engine(
        tmp_path / "net.onnx",
        tmp_path / "net.engine",
        precision=precision,
        job=job if precision == "int8" else None,
    )
    frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    with Localizer(engine.path) as localizer:
        assert localizer.run(frame).map.shape == (SIDE // stride, SIDE // stride)


def test_training_from_a_pretrained_file_and_what_int8_cannot(
    tmp_path: Path, image_folder: Path, tiny_overrides: tuple[str, ...]
) -> None:
    weights = tmp_path / "resnet.safetensors"
    save_file(whole(lively("resnet"), "resnet").state_dict(), weights)
    overrides = (
        *tiny_overrides,
        "model.architecture=timm:resnet",
        "model.width=1",
        "model.map_stride=16",
        "schedule.steps=1",
    )
    train(image_folder, tmp_path / "run", "default", overrides=overrides, pretrained=weights)
    with pytest.raises(InputError, match="timm:resnet cannot be trained while it is rounded"):
        train(image_folder, tmp_path / "qat", qat=tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "problem"),
    [("resnet", ""), ("flipping", "flip"), ("counting", "ONNX Runtime refused")],
)
def test_what_cannot_be_exported_is_said_before_it_is_trained(name: str, problem: str) -> None:
    reporter = Notes()
    overrides = [f"model.architecture=timm:{name}", "model.map_stride=16", "data.crop=64"]
    model = new_model(load_recipe("default", overrides), 3, "", reporter)
    assert model.training
    assert len(reporter.said) == bool(problem)
    for line in reporter.said:
        assert f"timm:{name} can be trained, but not be exported: " in line
        assert problem in line


def test_files_are_read_by_timms_names(tmp_path: Path) -> None:
    source, target = lively("resnet"), build_model(config("resnet")).eval()
    path = tmp_path / "timm.safetensors"
    save_file(whole(source, "resnet").state_dict(), path)
    report = load_pretrained(target, path)
    frames = torch.rand(2, 3, SIDE, SIDE) * 255
    source.set_conventions(target.config.conventions)
    with torch.no_grad():
        wanted, got = source.features(frames).deep, target.features(frames).deep
        assert torch.equal(source.tail(wanted), target.tail(got))
    assert report.ignored == ("fc.bias", "fc.weight")
    assert report.conventions.mean == tuple(255 * value for value in MEAN)
    assert report.loaded == len(source.trunk.state_dict()) + len(source.tail.state_dict())


def test_checkpoints_of_other_runs_are_read(
    tmp_path: Path, make_checkpoint: Callable[..., Path]
) -> None:
    source, target = lively("resnet"), build_model(config("resnet", num_classes=5)).eval()
    load_pretrained(target, make_checkpoint(source) / "checkpoint.safetensors")
    assert torch.equal(_conv(source), _conv(target))
    with pytest.raises(InputError, match=r"holds a timm:resnet, and this model is a timm:convnext"):
        load_pretrained(
            build_model(config("convnext")), tmp_path / "run" / "checkpoint.safetensors"
        )


def _conv(model: BasModel) -> torch.Tensor:
    return model.tail.get_parameter("layer4.1.conv2.weight")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer4.0.conv1.weight": None}, r"lacks layer4\.0\.conv1\.weight, so it is no file of"),
        ({"layer4.0.conv1.weight": (2, 2, 3, 3)}, r"has shape \[2, 2, 3, 3\]; this model needs"),
    ],
)
def test_files_of_another_network_change_nothing(
    change: dict[str, tuple[int, ...] | None], message: str, tmp_path: Path
) -> None:
    model = lively("resnet")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = {
        key: torch.rand_like(v.float()) for key, v in whole(model, "resnet").state_dict().items()
    }
    for key, shape in change.items():
        del state[key]
        if shape is not None:
            state[key] = torch.zeros(shape)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=message):
        load_pretrained(model, tmp_path / "other.safetensors")
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnot", {}, "timm has no network 'resnot'"),
        ("resnet.nosuch", {}, "timm has no weights 'resnet.nosuch'"),
        ("crossed", {}, "timm:crossed cannot be cut: its modules in a row do not compute"),
        ("tokens", {}, r"cannot be cut: its features are no maps \[N, C, h, w\], but \[2, 16, 8\]"),
        ("bare", {}, "timm:bare has no weights behind its features at stride 16"),
        ("convnext", {"map_stride": 8}, "timm:convnext has map_stride 16, not 8"),
        ("undilated", {"map_stride": 8}, "timm has no dilated form of it that reads what it was"),
        ("resnet", {"map_stride": 8, "atrous": False}, "is dilated at map stride 8, so atrous is"),
        ("resnet", {"norm": "none"}, 'keeps its BatchNorm, so norm is "batch", not "none"'),
        ("resnet", {"width": 0.5}, r"timm:resnet has width 1, not 0\.5"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(config(name, **options))


def test_a_network_without_features_at_stride_16_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = create_model("resnet")
    broken.feature_info = broken.feature_info[:2]
    monkeypatch.setattr(sys.modules["timm"], "create_model", lambda _: broken)
    with pytest.raises(InputError, match="timm:resnet has no features at stride 16"):
        build_model(config("resnet"))


def test_a_near_name_is_offered() -> None:
    with pytest.raises(InputError) as caught:
        find_backbone("timm:resnets")
    assert caught.value.hint is not None
    assert "resnet" in caught.value.hint
    with pytest.raises(InputError) as caught:
        find_backbone("timm:resnet.nosuch")
    assert caught.value.hint == "Did you mean resnet.a1_in1k?"


def test_without_weights_of_timm_s_own_frames_are_normalised_as_for_imagenet() -> None:
    assert find_backbone("timm:bare").conventions == TORCHVISION


def test_without_timm_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError) as caught:
        find_backbone("timm:resnet")
    assert caught.value.hint == "pip install 'bas-edge[timm]'"


def test_probing_leaves_torchs_random_numbers_as_they_are() -> None:
    torch.manual_seed(1)
    one = build_model(config("resnet")).state_dict()
    torch.manual_seed(1)
    two = build_model(config("resnet")).state_dict()  # cut before
    assert all(torch.equal(one[key], two[key]) for key in one)
