"""The arithmetic and sizes that docs/training.md and docs/backbones.md give."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bas_edge_training.models import ModelConfig, backbone_names, build_model, find_backbone
from bas_edge_training.models.layers import ConvUnit

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(
    r"^\| (?P<head>edge|paper) \| (?P<width>[\d.]+) \| (?P<stride>8|16) \| [^|]+ "
    r"\| (?P<macs>\d+) \| (?P<parameters>[\d.]+) \|$",
    re.M,
)
ROWS = list(ROW.finditer((DOCS / "training.md").read_text(encoding="utf-8")))
BACKBONE = re.compile(
    r"^\| `(?P<name>\w+)` \| (?P<stride>8|16) \| [^|]+ "
    r"\| (?P<edge>[\d.]+ \| [\d.]+) \| (?P<paper>[\d.]+ \| [\d.]+) \|$",
    re.M,
)
BACKBONES = list(BACKBONE.finditer((DOCS / "backbones.md").read_text(encoding="utf-8")))


def millions(config: ModelConfig) -> tuple[float, float]:
    """Multiply-accumulates of all convolutions for one frame, and parameters, in millions."""
    total = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        conv = module.conv if isinstance(module, ConvUnit) else module
        total += output[0].numel() * conv.weight[0].numel()

    with torch.device("meta"):  # shapes only: nothing is computed
        model = build_model(config).eval()
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, ConvUnit)):  # a unit calls no module of its own
                module.register_forward_hook(count)
        with torch.no_grad():  # with gradients, dilated filters run in four phases
            model(torch.zeros(1, 3, config.input_size, config.input_size))
    return total / 1e6, sum(p.numel() for p in model.parameters()) / 1e6


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.group(1, 2, 3)))
def test_the_table_is_what_the_networks_cost(row: re.Match[str]) -> None:
    config = ModelConfig(
        head=row["head"], width=float(row["width"]), map_stride=int(row["stride"]), num_classes=50
    )
    macs, parameters = millions(config)
    assert round(macs) == int(row["macs"])
    assert f"{parameters:.2f}" == row["parameters"]


def test_the_table_has_every_row() -> None:
    rows = [row.group("head", "width", "stride") for row in ROWS]
    edge = [("edge", width, stride) for width in ("1", "0.75", "0.5") for stride in ("8", "16")]
    assert rows == [*edge, ("paper", "1", "8")]


@pytest.mark.parametrize("row", BACKBONES, ids=lambda row: "-".join(row.group(1, 2)))
@pytest.mark.parametrize("head", ["edge", "paper"])
def test_backbones_cost_what_their_page_says(row: re.Match[str], head: Any) -> None:
    macs, parameters = millions(
        ModelConfig(
            architecture=row["name"], head=head, map_stride=int(row["stride"]), num_classes=50
        )
    )
    assert f"{macs / 1000:.2f} | {parameters:.2f}" == row[head]


def test_every_backbone_is_on_its_page() -> None:
    known = [(n, s) for n in backbone_names() for s in find_backbone(n).map_strides]
    assert sorted((row["name"], int(row["stride"])) for row in BACKBONES) == known
