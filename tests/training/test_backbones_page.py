"""docs/backbones.md: its table of files, its example as it stands there, and the entry point."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from bas_edge import Localizer, build_engine
from bas_edge.errors import InputError
from bas_edge_training.exporting import export
from bas_edge_training.models import (
    Conventions,
    LossConfig,
    ModelConfig,
    backbone_names,
    bas_loss,
    build_model,
    find_backbone,
    registry,
)
from bas_edge_training.rounded_model import find_places

PAGE = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is known in that test only."""
    monkeypatch.setattr(registry, "_BACKBONES", dict(registry._BACKBONES))


@pytest.fixture
def plain() -> None:
    """The page's example, run."""
    exec(compile(EXAMPLE, "docs/backbones.md", "exec"), vars(ModuleType("example")))


def written(conventions: Conventions) -> tuple[str, str]:
    """Mean and std as the page writes them: one number where all are the same."""
    return tuple(
        ", ".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))
        for values in (conventions.mean, conventions.std)
    )


def test_the_table_of_files_is_what_is_read() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*names?|[^|]*) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.M)
    expected = {
        (name, dialect.family, *written(dialect.conventions))
        for name in backbone_names()
        for dialect in find_backbone(name).dialects
    }
    assert set(rows) == expected
    assert len(rows) == len(expected)


def test_the_example_has_30_lines() -> None:
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) <= 30


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("head", ["paper", "edge"])
def test_the_example_goes_the_whole_way(
    head: Any, tmp_path: Path, make_checkpoint: Callable[..., Path]
) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        architecture="plain", head=head, num_classes=4, input_size=64, width=0.25, norm="batch"
    )
    model = build_model(config)
    frames = torch.randint(0, 256, (2, 3, 64, 64))
    bas_loss(model, frames, torch.tensor([0, 3]), LossConfig()).total.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    export(make_checkpoint(model.eval()), tmp_path / "net.onnx", simplify=False)
    engine = build_engine(tmp_path / "net.onnx", tmp_path / "net.engine")
    with Localizer(engine.path) as localizer:
        assert localizer.run(np.zeros((40, 30, 3), np.uint8)).map.shape == (8, 8)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("flavour", ["tensorrt", "onnxruntime"])
def test_the_example_can_be_trained_while_it_is_rounded(flavour: Any) -> None:
    config = ModelConfig(architecture="plain", num_classes=4, input_size=64, norm="none")
    assert len(find_places(build_model(config), flavour).weights) >= 7


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution that offers the example, and something that is no backbone."""
    code = EXAMPLE.replace('register_backbone("plain", Backbone(', "PLAIN = (Backbone(")
    assert "PLAIN" in code
    (tmp_path / "some_package.py").write_text(code)
    info = tmp_path / "some_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[bas_edge.backbones]\nplain = some_package:PLAIN\nodd = some_package:row\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_package", raising=False)
    return tmp_path


@pytest.mark.usefixtures("package")
def test_an_entry_point_is_a_backbone_as_well() -> None:
    assert "plain" in backbone_names()
    assert "some_package" not in sys.modules  # names cost no import
    model = build_model(ModelConfig(architecture="plain", num_classes=2, input_size=64))
    assert find_backbone("plain") is sys.modules["some_package"].PLAIN
    assert model(torch.zeros(1, 3, 64, 64))[1].shape == (1, 2, 8, 8)


@pytest.mark.usefixtures("package")
def test_an_entry_point_to_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="some_package:row, offered as the backbone 'odd', is a"):
        find_backbone("odd")


def test_without_it_the_name_is_unknown() -> None:
    with pytest.raises(InputError, match="There is no backbone 'plain'"):
        find_backbone("plain")
