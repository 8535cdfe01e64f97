"""Every backbone as it learns, sees and is dilated, and through the whole chain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bas_edge import Localizer, build_engine
from bas_edge.annotations import read_annotations
from bas_edge.errors import InputError
from bas_edge.images import read_image
from bas_edge.ops import resize_frame
from bas_edge_training.exporting import export
from bas_edge_training.models import (
    TORCHVISION,
    Backbone,
    BasModel,
    LossConfig,
    ModelConfig,
    backbone_names,
    bas_loss,
    build_model,
    find_backbone,
    fold_batch_norm,
    load_pretrained,
    register_backbone,
)
from bas_edge_training.models.inception_v3 import Mixed
from bas_edge_training.models.layers import ConvUnit, MaxPool, from_phases, to_phases
from bas_edge_training.models.weight_files import read_weights
from bas_edge_training.rounded_model import find_places

NAMES = ("inception_v3", "mobilenet_v1", "mobilenet_v2", "resnet50", "vgg16")
HEADS = ("paper", "edge")


def tiny(architecture: str, **options: Any) -> BasModel:
    """Width 0.125 at 64 pixels; seeded."""
    torch.manual_seed(0)
    own = find_backbone(architecture).conventions
    options = {"width": 0.125, "num_classes": 5, "input_size": 64, "conventions": own, **options}
    return build_model(ModelConfig(architecture=architecture, **options))


def test_these_are_all_of_them() -> None:
    assert tuple(backbone_names()) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", HEADS)
def test_the_loss_falls_on_eight_images(name: str, head: Any) -> None:
    model = tiny(name, head=head, norm="batch" if find_backbone(name).batch_norm else "none")
    frames = torch.randint(0, 256, (8, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    labels = torch.arange(8) % 5
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(16):
        losses = bas_loss(model, frames, labels, LossConfig())
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(float(losses.total.detach()))
    assert max(totals[-3:]) < 0.93 * totals[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", HEADS)
def test_background_term_teaches_only_the_map(name: str, head: Any) -> None:
    """None of its gradient reaches tail and head, whose copies see the erased features."""
    model = tiny(name, head=head)
    frames, labels = torch.randint(0, 256, (4, 3, 64, 64)), torch.arange(4)
    with torch.no_grad():
        model.head.classifier.bias.fill_(50.0)  # every score is positive, so no ratio is flat
    losses = bas_loss(model, frames, labels, LossConfig())
    losses.background.backward(retain_graph=True)
    learnt = {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert learnt == {"trunk", "generator"}
    losses.total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "resnet50"])
def test_dilated_filters_read_what_the_original_reads(name: str) -> None:
    """Every other cell of the finer map is the original's cell, bit for bit or nearly."""
    fine = tiny(name, atrous=True, map_stride=8, conventions=TORCHVISION).eval()
    original = tiny(name, atrous=True, map_stride=16, conventions=TORCHVISION).eval()
    original.load_state_dict(fine.state_dict())
    frames = torch.randint(0, 256, (2, 3, 64, 64))
    with torch.no_grad():
        got, wanted = fine.features(frames).deep, original.features(frames).deep
    torch.testing.assert_close(got[:, :, ::2, ::2], wanted)


def test_dilated_inception_reads_what_it_was_trained_on() -> None:
    """Behind the removed stride, four interleaved maps pass the network as if each were alone."""
    dilated, plain = (tiny("inception_v3", atrous=atrous).eval() for atrous in (True, False))
    plain.load_state_dict(dilated.state_dict())
    x = torch.randn(2, dilated.trunk.fine_channels, 8, 8)

    def deep(model: BasModel, x: Tensor) -> Tensor:
        blocks = [m for m in model.trunk.children() if isinstance(m, Mixed)][-4:]
        return nn.Sequential(*blocks)(x)

    with torch.no_grad():
        torch.testing.assert_close(deep(dilated, x), from_phases(deep(plain, to_phases(x))))


@pytest.mark.parametrize(
    ("name", "stride", "plain", "width"),
    [
        ("resnet50", 8, -3.5, 107),
        ("resnet50", 16, -7.5, 107),
        ("inception_v3", 8, 2.5, 159),
        ("vgg16", 8, 0.0, 60),
    ],
)
def test_centred_cells_see_their_own_place(
    name: str, stride: int, plain: float, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symmetric filters: where a cell's gradient has its centre is where the cell looks.

    `width` pixels of it are not zero, as the trunks' docstrings say.
    """

    def mean(pool: MaxPool, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, pool.kernel, pool.stride, pool.padding, pool.round_up)

    monkeypatch.setattr(MaxPool, "forward", mean)  # the largest of equals is the first of them
    for centred in (False, True):
        model = tiny(name, input_size=256, centred=centred, atrous=False, map_stride=stride)
        for path, weight in model.trunk.named_parameters():
            nn.init.ones_(weight) if path.endswith("weight") else nn.init.zeros_(weight)
            weight.data /= max(1, weight[0].numel())
        x = torch.full((1, 3, 256, 256), 200.0, requires_grad=True)
        cell = 128 // stride
        fine = model.features(x).fine
        assert fine is not None
        (seen,) = torch.autograd.grad(fine[:, :, cell, cell].sum(), x)
        pixels = torch.arange(256.0) + 0.5
        distance = plain - (round(plain - 0.5 * np.sign(plain)) if centred else 0)
        for axis in (2, 3):
            weight = seen.sum([a for a in range(4) if a != axis])
            assert int((weight != 0).sum()) == width
            looks_at = float((weight * pixels).sum() / weight.sum())
            assert looks_at - stride * (cell + 0.5) == pytest.approx(distance, abs=0.02)


@pytest.mark.parametrize("name", [n for n in NAMES if find_backbone(n).batch_norm])
def test_folding_batch_norm_changes_nothing(name: str) -> None:
    model = tiny(name, norm="batch")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    frames = torch.randint(0, 256, (2, 3, 64, 64))
    folded = fold_batch_norm(model.eval())
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for got, wanted in zip(folded(frames), model(frames), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", HEADS)
def test_from_checkpoint_to_box(
    name: str, head: Any, tmp_path: Path, make_checkpoint: Callable[..., Path]
) -> None:
    """Export checks PyTorch against the graph itself; odd pooling and dilation are in it.

    onnxsim, most of the time, gets to see each backbone once.
    """
    model = tiny(name, head=head, atrous=name != "resnet50")
    export(make_checkpoint(model), tmp_path / "net.onnx", simplify=head == "edge")
    engine = build_engine(tmp_path / "net.onnx", tmp_path / "net.engine")
    frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    with Localizer(engine.path) as localizer:
        found = localizer.run(frame)
    assert found.class_name in localizer.classes
    assert found.map.shape == (8, 8)


@pytest.mark.rtx
@pytest.mark.parametrize("name", ["inception_v3", "mobilenet_v2", "resnet50", "vgg16"])
def test_a_plan_can_be_built(
    name: str, tmp_path: Path, make_checkpoint: Callable[..., Path]
) -> None:
    """Sums, joints, poolings that round up and dilated means, in half precision."""
    export(make_checkpoint(tiny(name)), tmp_path / "net.onnx", simplify=False)
    engine = build_engine(
        tmp_path / "net.onnx", tmp_path / "net.engine", backend="tensorrt_rtx", precision="fp16"
    )
    assert len(engine.manifest.plans) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flavour", ["tensorrt", "onnxruntime"])
def test_every_place_that_int8_rounds_can_be_trained(name: str, flavour: Any) -> None:
    places = find_places(tiny(name, atrous=True), flavour)
    assert places.rounded
    units = [m for m in tiny(name).modules() if isinstance(m, ConvUnit)]
    assert len(places.weights) > 0.9 * len(units)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "resnet"}, "There is no backbone 'resnet'"),
        ({"architecture": "vgg16", "norm": "batch"}, "vgg16 has no BatchNorm"),
        ({"architecture": "inception_v3", "map_stride": 16}, "inception_v3 has map_stride 8, not"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(ModelConfig(num_classes=2, **options))


@pytest.mark.shared_data
@pytest.mark.parametrize("stride", [8, 16])
def test_a_real_mobilenet_v2_names_birds_at_either_stride(stride: int, shared_data: Path) -> None:
    """Google's weights of iNaturalist's birds, on CUB's pictures: the classifier is theirs too."""
    weights = shared_data.parent / "weights" / "mobilenet_v2_1.0_224_inat_bird.safetensors"
    if not weights.is_file():
        pytest.skip(f"no pretrained weights at {weights}")
    model = tiny("mobilenet_v2", width=1.0, input_size=224, map_stride=stride).eval()
    assert load_pretrained(model, weights).ignored == ("classifier.bias", "classifier.weight")
    tensors, _ = read_weights(weights)
    names = (weights.parent / "inat_bird_labels.txt").read_text(encoding="utf-8").splitlines()
    items = read_annotations(shared_data / "cub50" / "val.csv").items
    right = 0
    for item in items[::97][:5]:
        frame = torch.from_numpy(resize_frame(read_image(item.path), (224, 224)))
        with torch.no_grad():
            seen = model.tail(model.features(frame.permute(2, 0, 1)[None]).deep).mean((2, 3))
        best = F.linear(seen, tensors["classifier.weight"], tensors["classifier.bias"]).argmax()
        kind = item.class_name.rpartition("_")[2].lower()
        right += kind in names[int(best)].lower()
    assert right == 5


def test_a_name_cannot_be_taken_twice() -> None:
    register_backbone("vgg16", find_backbone("vgg16"))
    with pytest.raises(ValueError, match="there is a backbone of the name vgg16"):
        register_backbone("vgg16", Backbone(build=find_backbone("resnet50").build))
