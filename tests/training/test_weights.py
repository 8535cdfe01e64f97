"""Pretrained files: names, BatchNorm, wrong widths, files that are not weights."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bas_edge.errors import InputError
from bas_edge_training.models import (
    TENSORFLOW,
    TIMM,
    TORCHVISION,
    BasModel,
    ModelConfig,
    build_model,
    load_pretrained,
)
from bas_edge_training.models.config import CHECKPOINT_KEY

FRAMES = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0))


def model(norm: str = "none", width: float = 0.125) -> BasModel:
    config = ModelConfig(norm=norm, width=width, num_classes=3, input_size=64)
    return build_model(config).eval()


def folded_file(path: Path, source: BasModel) -> Path:
    blocks = [*source.trunk.blocks, *source.tail.blocks]
    units = {"stem": source.trunk.stem}
    units |= {f"blocks.{i}.{k}": getattr(b, k) for i, b in enumerate(blocks) for k in ("dw", "pw")}
    tensors = {}
    for name, unit in units.items():
        tensors[f"{name}.weight"] = unit.conv.weight.detach()
        tensors[f"{name}.bias"] = unit.conv.bias.detach()
    metadata = {"activation": "relu6", "padding": "TF SAME", "input_mean": "128"}
    save_file(
        {**tensors, "classifier.weight": torch.zeros(7, 128)}, path, metadata | {"input_std": "128"}
    )
    return path


def torchvision_state(source: BasModel) -> dict[str, Tensor]:
    """Numbered layers, conv then BatchNorm, as `nn.Sequential` names them."""
    state = {}
    for index, unit in enumerate(m for m in source.modules() if type(m).__name__ == "ConvUnit"):
        state[f"model.{index}.0.weight"] = unit.conv.weight.detach()
        state |= {f"model.{index}.1.{k}": v for k, v in unit.bn.state_dict().items()}
    return state | {"fc.weight": torch.zeros(7, 128)}


def timm_state(source: BasModel) -> dict[str, Tensor]:
    """timm's names for a MobileNetV1, whose blocks stand in stages of 1, 2, 2, 6 and 2."""
    stages = [f"blocks.{s}.{i}" for s, count in enumerate((1, 2, 2, 6, 2)) for i in range(count)]
    parts = [("conv_stem", "bn1", source.trunk.stem)]
    for name, block in zip(stages, [*source.trunk.blocks, *source.tail.blocks], strict=True):
        parts.append((f"{name}.conv_dw", f"{name}.bn1", block.dw))
        parts.append((f"{name}.conv_pw", f"{name}.bn2", block.pw))
    state = {"classifier.weight": torch.zeros(7, 128)}
    for conv, norm, unit in parts:
        state[f"{conv}.weight"] = unit.conv.weight.detach()
        state |= {f"{norm}.{k}": v for k, v in unit.bn.state_dict().items()}
    return state


def test_folded_file_restores_the_backbone_and_its_conventions(tmp_path: Path) -> None:
    source, target = model(), model()
    target.set_conventions(TORCHVISION)
    report = load_pretrained(target, folded_file(tmp_path / "w.safetensors", source))
    assert (report.loaded, report.ignored) == (54, ("classifier.weight",))
    assert target.config.conventions == TENSORFLOW
    assert torch.equal(source.features(FRAMES).deep, target.features(FRAMES).deep)


def test_folded_file_passes_unchanged_through_a_model_with_batch_norm(tmp_path: Path) -> None:
    source, target = model(), model("batch")
    load_pretrained(target, folded_file(tmp_path / "w.safetensors", source))
    torch.testing.assert_close(target.features(FRAMES), source.features(FRAMES))


def with_statistics() -> BasModel:
    """A model whose BatchNorms have seen something."""
    torch.manual_seed(1)
    source = model("batch")
    for bn in (m for m in source.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(bn.running_mean, -0.2, 0.2)
        nn.init.uniform_(bn.running_var, 0.5, 2.0)
        nn.init.uniform_(bn.weight, 0.5, 1.5)
        nn.init.uniform_(bn.bias, -0.2, 0.2)
    return source


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_timm_names_are_read_in_any_order(tmp_path: Path, norm: str) -> None:
    source, target = with_statistics(), model(norm)
    source.set_conventions(TIMM)
    state = timm_state(source)
    save_file(dict(sorted(state.items())), tmp_path / "model.safetensors")
    report = load_pretrained(target, tmp_path / "model.safetensors")
    assert report.ignored == ("classifier.weight",)
    assert target.config.conventions == TIMM
    torch.testing.assert_close(target.features(FRAMES), source.features(FRAMES))
    del state["blocks.3.4.conv_pw.weight"]
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"lacks blocks\.3\.4\.conv_pw\.weight, so it is no mob"):
        load_pretrained(target, tmp_path / "other.safetensors")


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_torchvision_style_checkpoint_keeps_its_function(tmp_path: Path, norm: str) -> None:
    source, target = with_statistics(), model(norm)
    source.set_conventions(TORCHVISION)
    torch.save({"state_dict": torchvision_state(source)}, tmp_path / "w.pth")
    report = load_pretrained(target, tmp_path / "w.pth")
    assert report.ignored == ("fc.weight",)
    assert target.config.conventions == TORCHVISION
    torch.testing.assert_close(target.features(FRAMES), source.features(FRAMES))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_run_may_start_from_the_checkpoint_of_another(tmp_path: Path, norm: str) -> None:
    """The backbone is taken over, folded where needed; heads of other classes are not."""
    source = model(norm)
    for bn in (m for m in source.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(bn.running_mean, -0.2, 0.2)
        nn.init.uniform_(bn.running_var, 0.5, 2.0)
    source.set_conventions(TORCHVISION)
    path = tmp_path / "checkpoint.safetensors"
    description = {"model": msgspec.to_builtins(source.config), "classes": ["a", "b", "c"]}
    metadata = {CHECKPOINT_KEY: json.dumps(description)}
    save_file(source.state_dict(), path, metadata)
    target = build_model(ModelConfig(width=0.125, num_classes=7, input_size=64, head="paper"))
    report = load_pretrained(target.eval(), path)
    assert target.config.conventions == TORCHVISION
    assert "generator.conv.weight" in report.ignored
    for ours, theirs in zip(target.features(FRAMES), source.features(FRAMES), strict=True):
        torch.testing.assert_close(ours, theirs)

    plain = ModelConfig(width=0.125, num_classes=7, input_size=64, atrous=False)
    with pytest.raises(InputError, match="trained with atrous = True, this model has False"):
        load_pretrained(build_model(plain), path)
    save_file({f"model.{k}": v for k, v in source.state_dict().items()}, path, metadata)
    with pytest.raises(InputError, match="the state of an unfinished run"):
        load_pretrained(target, path)
    state = source.state_dict()
    del state["trunk.stem.conv.weight"]
    save_file(state, path, metadata)
    with pytest.raises(InputError, match="it has another backbone"):
        load_pretrained(target, path)
    save_file(state, path, {CHECKPOINT_KEY: "{}"})
    with pytest.raises(InputError, match="this version cannot read"):
        load_pretrained(target, path)


def test_wrong_width_names_both_shapes_and_the_recipe_key(tmp_path: Path) -> None:
    path = folded_file(tmp_path / "w.safetensors", model(width=0.25))
    with pytest.raises(InputError, match=r"shape \[8, 3, 3, 3\]|shape \[\d+, .*needs \[") as caught:
        load_pretrained(model(), path)
    assert "--set model.width=" in str(caught.value.hint)


def test_missing_and_foreign_files_are_refused_with_their_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.safetensors does not exist"):
        load_pretrained(model(), tmp_path / "nowhere.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(InputError, match=r"text\.safetensors cannot be read"):
        load_pretrained(model(), tmp_path / "text.safetensors")
    save_file({"a.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="1 convolutions; a MobileNetV1 backbone has 27"):
        load_pretrained(model(), tmp_path / "other.safetensors")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "module.pth")
    with pytest.raises(InputError, match=r"run code: torch\.nn\.modules\.linear\.Linear\.$"):
        load_pretrained(model(), tmp_path / "module.pth")
