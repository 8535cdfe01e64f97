"""Map stride 16: the original backbone, its geometry, its export, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from bas_edge.errors import InputError
from bas_edge_training.checkpoint import load_checkpoint
from bas_edge_training.exporting import export
from bas_edge_training.graph import contract_graph, select_classes
from bas_edge_training.models import (
    TENSORFLOW,
    TORCHVISION,
    BasModel,
    Conventions,
    ModelConfig,
    build_model,
    load_pretrained,
)
from bas_edge_training.parity import run_onnx
from bas_edge_training.recipe import load_recipe
from bas_edge_training.samples import synthetic_samples

SMALL: dict[str, Any] = {"width": 0.125, "num_classes": 6, "input_size": 64}
ORIGINAL_STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]


def frames(side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(side)
    return torch.randint(0, 256, (2, 3, side, side), generator=generator)


@pytest.mark.parametrize("head", ["edge", "paper"])
@pytest.mark.parametrize(("side", "cells", "tail"), [(64, 4, 2), (80, 5, 3), (16, 1, 1)])
def test_maps_and_tail_have_a_cell_for_16_and_32_pixels(
    make_model: Callable[..., BasModel], head: str, side: int, cells: int, tail: int
) -> None:
    model = make_model(head, map_stride=16)
    logits, maps = model(frames(side))
    averaged, cams = model.activation_maps(frames(side))
    assert maps.shape == (2, 6, cells, cells)
    assert cams.shape == (2, 6, tail, tail)
    torch.testing.assert_close(logits, averaged)


@pytest.mark.parametrize("atrous", [True, False])
def test_the_backbone_is_the_original(atrous: bool) -> None:
    model = build_model(ModelConfig(map_stride=16, atrous=atrous, **SMALL))
    convs = [block.dw.conv for block in [*model.trunk.blocks, *model.tail.blocks]]
    assert [conv.stride[0] for conv in convs] == ORIGINAL_STRIDES
    assert {conv.dilation for conv in convs} == {(1, 1)}
    assert not model.tail.pooled


@pytest.mark.parametrize(
    ("conventions", "centred", "first"),
    [(TENSORFLOW, False, 1), (TENSORFLOW, True, 0), (TORCHVISION, False, 0)],
)
def test_its_features_are_every_second_ones_of_stride_8(
    conventions: Conventions, centred: bool, first: int
) -> None:
    """Dilated filters at stride 8 compute the original at four phases, one of which is here."""
    torch.manual_seed(0)
    fine = build_model(ModelConfig(conventions=conventions, **SMALL)).eval()
    config = ModelConfig(conventions=conventions, map_stride=16, centred=centred, **SMALL)
    coarse = build_model(config).eval()
    coarse.load_state_dict(fine.state_dict())
    with torch.no_grad():
        for ours, theirs in zip(
            coarse.features(frames(64)), fine.features(frames(64)), strict=True
        ):
            torch.testing.assert_close(ours, theirs[:, :, first::2, first::2])


@pytest.mark.parametrize("conventions", [TENSORFLOW, TORCHVISION])
@pytest.mark.parametrize(("centred", "distance"), [(True, 0.5), (False, 7.5)])
def test_centred_cells_see_their_own_place(
    conventions: Conventions, centred: bool, distance: float
) -> None:
    config = ModelConfig(
        width=0.125, num_classes=2, map_stride=16, conventions=conventions, centred=centred
    )
    trunk = build_model(config).trunk
    for name, weight in trunk.named_parameters():
        nn.init.ones_(weight) if name.endswith("weight") else nn.init.zeros_(weight)
        weight.data /= max(1, weight[0].numel())
    x = torch.full((1, 3, 224, 224), 0.1, requires_grad=True)
    cell = 7
    (seen,) = torch.autograd.grad(trunk(x).fine[:, :, cell, cell].sum(), x)
    pixels = torch.arange(224.0) + 0.5
    for axis in (2, 3):
        weight = seen.sum([a for a in range(4) if a != axis])
        looks_at = float((weight * pixels).sum() / weight.sum())
        assert abs(looks_at - 16 * (cell + 0.5)) == pytest.approx(distance, abs=0.01)


@pytest.mark.parametrize("side", [64, 80])  # 80: an odd map, which the tail pads on both sides
@pytest.mark.parametrize("head", ["edge", "paper"])
@pytest.mark.parametrize("centred", [True, False])
def test_the_exported_graph_equals_pytorch(
    make_model: Callable[..., BasModel], head: str, centred: bool, side: int
) -> None:
    model = make_model(head, centred=centred, map_stride=16, side=side)
    model.set_shift(-7)
    graph = contract_graph(model)
    onnx.checker.check_model(graph, full_check=True)
    assert "Pad" not in {node.op_type for node in graph.graph.node}
    pixels = np.ascontiguousarray(frames(side).permute(0, 2, 3, 1).numpy().astype(np.uint8))
    with torch.no_grad():
        logits, maps = (x.numpy() for x in model(frames(side)))
    got = run_onnx(graph, pixels)
    assert np.ptp(maps) > 0.1
    np.testing.assert_allclose(got["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(got["maps"], maps, atol=1e-5)
    selected = run_onnx(select_classes(graph, 2), pixels)
    best = np.argsort(-got["logits"], axis=1, kind="stable")[:, :2, None, None]
    np.testing.assert_allclose(selected["maps"], np.take_along_axis(maps, best, 1), atol=1e-5)


@pytest.mark.parametrize("maps", ["all", "selected", "mean"])
def test_every_form_is_exported_and_checked(
    make_model: Callable[..., BasModel], make_checkpoint: Callable[..., Path], tmp_path: Path,
    maps: str, image_files: Callable[..., list[Path]],
) -> None:  # fmt: skip
    model = make_model("edge", classes=12, centred=True, map_stride=16)
    with torch.no_grad():  # classes whose maps agree, so that one mean map can stand for them
        model.generator.conv.weight.copy_(model.generator.conv.weight[:1].clone())
    folder = make_checkpoint(model)
    assert load_checkpoint(folder).model.config.map_stride == 16
    k = 3 if maps == "selected" else None
    images = image_files(synthetic_samples(side=64, count=20).frames)
    report = export(folder, tmp_path / "m.onnx", maps=maps, k=k, images=images, simplify=False)
    assert report.manifest.maps == maps
    assert report.parity.box_iou > 0.99


def test_weights_of_a_dilated_network_fit_and_those_of_the_published_form_do_not(
    make_model: Callable[..., BasModel], make_checkpoint: Callable[..., Path]
) -> None:
    source = make_checkpoint(make_model("edge")) / "checkpoint.safetensors"
    coarse = build_model(ModelConfig(map_stride=16, atrous=False, **SMALL))
    load_pretrained(coarse, source)
    coarse_file = make_checkpoint(coarse) / "checkpoint.safetensors"
    load_pretrained(build_model(ModelConfig(**SMALL)), coarse_file)
    plain = build_model(ModelConfig(atrous=False, **SMALL))
    with pytest.raises(InputError, match="its filters would read other cells") as caught:
        load_pretrained(plain, coarse_file)
    assert caught.value.hint == "--set model.atrous=true"
    plain_file = make_checkpoint(plain) / "checkpoint.safetensors"
    with pytest.raises(InputError, match="this model has map stride 16") as caught:
        load_pretrained(coarse, plain_file)
    assert caught.value.hint == "--set model.map_stride=8 --set model.atrous=false"


def test_a_checkpoint_and_a_recipe_that_do_not_say_have_stride_8_and_their_old_hash() -> None:
    described = msgspec.json.encode(ModelConfig(num_classes=2)).replace(b'"map_stride":8,', b"")
    assert b"map_stride" not in described
    assert msgspec.json.decode(described, type=ModelConfig).map_stride == 8
    before = "7bac724930d523f738b13ba07a412e11168ad4571cc3c03cf4c00b5749b18473"
    assert load_recipe("default").sha256 == before
    assert load_recipe("default", ["model.map_stride=16"]).sha256 != before


def test_other_strides_are_refused() -> None:
    with pytest.raises(ValueError, match="map_stride must be 8 or 16, got 4"):
        ModelConfig(map_stride=4, **SMALL)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InputError, match=r"model\.map_stride: Invalid enum value 12"):
        load_recipe("default", ["model.map_stride=12"])
