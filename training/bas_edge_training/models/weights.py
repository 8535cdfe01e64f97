"""Pretrained backbones: folded files, torchvision-style checkpoints, checkpoints of our own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bas_edge.errors import InputError

from .bas import BasModel
from .config import CHECKPOINT_KEY, TENSORFLOW, TIMM, TORCHVISION, Conventions
from .mobilenet_v1 import ConvUnit

__all__ = ["PretrainedReport", "load_pretrained"]

_ACTIVATIONS: dict[str, Literal["relu6", "relu"]] = {"relu6": "relu6", "relu": "relu"}
_BN = ("weight", "bias", "running_mean", "running_var")
_TIMM_STAGES = (1, 2, 2, 6, 2)  # blocks of each; a new stage begins where the stride is 2


@dataclass(frozen=True, slots=True)
class PretrainedReport:
    """What a pretrained file brought.

    Attributes:
        path: The file.
        loaded: Backbone tensors taken from it.
        ignored: Its tensors that this model has no place for (its own classifier).
        conventions: Normalisation, activation and padding adopted from it.
    """

    path: Path
    loaded: int
    ignored: tuple[str, ...]
    conventions: Conventions


def load_pretrained(model: BasModel, path: str | Path) -> PretrainedReport:
    """Fill the backbone (trunk and tail) from a file; heads keep their initialisation.

    Reads safetensors, or a `.pth`/`.pt` state dict with `weights_only=True`. Layers are matched
    by name where names follow `stem`, `blocks.I.dw|pw`, are those of timm's MobileNetV1, or those
    of a `checkpoint.safetensors` that `bas-edge train` wrote; otherwise by order, as
    torchvision-style MobileNetV1 checkpoints number their layers. BatchNorm is folded into the
    convolutions of a model with norm "none", and kept in one with norm "batch".

    Raises:
        InputError: The file is missing or unreadable, or its shapes belong to another width.
    """
    path = Path(path)
    tensors, metadata = _read(path)
    units = _backbone_units(model)
    if CHECKPOINT_KEY in metadata:
        described = _described(metadata[CHECKPOINT_KEY], path)
        _require_same_reading(described, model, path)
        conventions = described.conventions
        source, ignored = _by_module(tensors, model, units, path)
    elif "stem.weight" in tensors:
        source, ignored = _by_name(tensors, units, path)
        conventions = _conventions(metadata, TENSORFLOW)
    elif "conv_stem.weight" in tensors:
        source, ignored = _by_timm_name(tensors, path)
        conventions = _conventions(metadata, TIMM)
    else:
        source, ignored = _by_order(tensors, units, path)
        conventions = _conventions(metadata, TORCHVISION)
    with torch.no_grad():
        loaded = sum(
            _fill(unit, found, f"{path.name}: {name}")
            for (name, unit), found in zip(units.items(), source, strict=True)
        )
    model.set_conventions(conventions)
    return PretrainedReport(path, loaded, tuple(ignored), conventions)


class _Model(msgspec.Struct):
    conventions: Conventions
    atrous: bool
    map_stride: int = 8


class _Description(msgspec.Struct):
    """Of a checkpoint, the part that its backbone needs."""

    model: _Model


@dataclass(frozen=True, slots=True)
class _Layer:
    weight: Tensor
    bias: Tensor | None = None
    bn: Mapping[str, Tensor] | None = None  # weight, bias, running_mean, running_var


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise InputError(f"The pretrained file {path} does not exist.", hint="Check the path.")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118  (not a dict)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as weights: {error}") from error
    except Exception as error:
        if type(error).__name__ != "UnpicklingError":
            raise
        raise InputError(
            f"{path} holds more than tensors, and loading it could run code: {error}",
            hint="Save its state_dict as safetensors and pass that file.",
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping):
        raise InputError(f"{path} holds a {type(state).__name__}, not a state dict of tensors.")
    tensors = {str(key).removeprefix("module."): value for key, value in state.items()}
    return {key: value for key, value in tensors.items() if isinstance(value, Tensor)}, {}


def _conventions(metadata: Mapping[str, str], default: Conventions) -> Conventions:
    """From the file's own metadata where it speaks of them, else the family's."""
    padding = metadata.get("padding", "").lower()
    activation = metadata.get("activation", "").lower()
    return Conventions(
        mean=_triple(metadata.get("input_mean"), default.mean),
        std=_triple(metadata.get("input_std"), default.std),
        activation=_ACTIVATIONS.get(activation, default.activation),
        padding="tf_same" if "same" in padding else default.padding,
    )


def _described(description: str, path: Path) -> _Model:
    try:
        return msgspec.json.decode(description, type=_Description).model
    except msgspec.DecodeError as error:
        raise InputError(
            f"{path} was written by a bas-edge whose description this version cannot read: {error}."
        ) from error


def _require_same_reading(described: _Model, model: BasModel, path: Path) -> None:
    """Weights fit where their filters read the same cells: dilated, or at the original stride."""
    config = model.config
    if (described.atrous or described.map_stride == 16) == config.reads_as_trained:
        return
    has = "map stride 16" if config.map_stride == 16 else str(config.atrous)
    hint = "--set model.atrous=true"
    if config.reads_as_trained:
        stride = "--set model.map_stride=8 " if config.map_stride == 16 else ""
        hint = f"{stride}--set model.atrous=false"
    raise InputError(
        f"{path} was trained with atrous = {described.atrous}, this model has {has}: its filters "
        "would read other cells.",
        hint=hint,
    )


def _triple(text: str | None, default: tuple[float, float, float]) -> tuple[float, float, float]:
    if not text:
        return default
    value = json.loads(text)
    values = [float(v) for v in value] if isinstance(value, list) else [float(value)] * 3
    return (values[0], values[1], values[2])


def _backbone_units(model: BasModel) -> dict[str, ConvUnit]:
    """Every backbone convolution under the name that the folded files use, in order."""
    units = {"stem": model.trunk.stem}
    for index, block in enumerate([*model.trunk.blocks, *model.tail.blocks]):
        units[f"blocks.{index}.dw"] = block.dw
        units[f"blocks.{index}.pw"] = block.pw
    return units


def _by_name(
    tensors: Mapping[str, Tensor], units: Mapping[str, ConvUnit], path: Path
) -> tuple[list[_Layer], list[str]]:
    missing = [name for name in units if f"{name}.weight" not in tensors]
    if missing:
        raise InputError(
            f"{path} lacks {missing[0]}.weight; a MobileNetV1 backbone has {len(units)} layers."
        )
    layers = [_Layer(tensors[f"{name}.weight"], tensors.get(f"{name}.bias")) for name in units]
    used = {f"{name}.{kind}" for name in units for kind in ("weight", "bias")}
    return layers, sorted(set(tensors) - used)


def _by_timm_name(tensors: Mapping[str, Tensor], path: Path) -> tuple[list[_Layer], list[str]]:
    """Names of timm: `conv_stem`, `bn1`, `blocks.STAGE.I.conv_dw`, `.bn1`, `.conv_pw`, `.bn2`."""
    places = [("conv_stem", "bn1")]
    for stage, count in enumerate(_TIMM_STAGES):
        for index in range(count):
            block = f"blocks.{stage}.{index}"
            places += [(f"{block}.conv_dw", f"{block}.bn1"), (f"{block}.conv_pw", f"{block}.bn2")]
    layers: list[_Layer] = []
    used: set[str] = set()
    for conv, norm in places:
        names = [f"{conv}.weight", *(f"{norm}.{key}" for key in _BN)]
        missing = [name for name in names if name not in tensors]
        if missing:
            raise InputError(
                f"{path} is of timm, but lacks {missing[0]}, so it is no MobileNetV1.",
                hint="mobilenetv1_100 is one.",
            )
        layers.append(_Layer(tensors[names[0]], bn={key: tensors[f"{norm}.{key}"] for key in _BN}))
        used |= {*names, f"{norm}.num_batches_tracked"}
    return layers, sorted(set(tensors) - used)


def _by_module(
    tensors: Mapping[str, Tensor], model: BasModel, units: Mapping[str, ConvUnit], path: Path
) -> tuple[list[_Layer], list[str]]:
    """A checkpoint of another run: the same modules, whatever its heads and classes were."""
    places = {id(module): name for name, module in model.named_modules()}
    layers: list[_Layer] = []
    for unit in units.values():
        stem = places[id(unit)]
        if f"model.{stem}.conv.weight" in tensors:
            raise InputError(
                f"{path} is the state of an unfinished run.",
                hint="Give its checkpoint.safetensors, or go on with it: --resume.",
            )
        if f"{stem}.conv.weight" not in tensors:
            raise InputError(f"{path} lacks {stem}.conv.weight, so it has another backbone.")
        bn = {key: tensors[f"{stem}.bn.{key}"] for key in _BN if f"{stem}.bn.{key}" in tensors}
        bias = tensors.get(f"{stem}.conv.bias")
        layers.append(_Layer(tensors[f"{stem}.conv.weight"], bias, bn or None))
    return layers, [name for name in tensors if not name.startswith(("trunk.", "tail."))]


def _by_order(
    tensors: Mapping[str, Tensor], units: Mapping[str, ConvUnit], path: Path
) -> tuple[list[_Layer], list[str]]:
    """Convolutions and BatchNorms in file order: how torchvision-style checkpoints are laid out."""
    layers: list[_Layer] = []
    used: set[str] = set()
    for name, value in tensors.items():
        if len(layers) < len(units) and name.endswith("weight") and value.dim() == 4:
            bias = tensors.get(name.removesuffix("weight") + "bias")
            layers.append(_Layer(value, bias))
            used |= {name, name.removesuffix("weight") + "bias"}
        elif name.endswith("running_var") and layers and layers[-1].bn is None:
            stem = name.removesuffix("running_var")
            bn = {key: tensors[stem + key] for key in _BN}
            layers[-1] = _Layer(layers[-1].weight, layers[-1].bias, bn)
            used |= {stem + key for key in _BN} | {stem + "num_batches_tracked"}
    if len(layers) < len(units):
        raise InputError(
            f"{path} has {len(layers)} convolutions; a MobileNetV1 backbone has {len(units)}."
        )
    return layers, sorted(set(tensors) - used)


def _fill(unit: ConvUnit, layer: _Layer, where: str) -> int:
    """Copy one layer; returns how many tensors were set."""
    if layer.weight.shape != unit.conv.weight.shape:
        raise InputError(
            f"{where} has shape {list(layer.weight.shape)}; this model needs "
            f"{list(unit.conv.weight.shape)}.",
            hint="Set `width` in the recipe to the width of the pretrained backbone.",
        )
    weight = layer.weight.float()
    bias = torch.zeros(weight.shape[0]) if layer.bias is None else layer.bias.float()
    if unit.bn is None:
        if layer.bn is not None:
            weight, bias = _folded(weight, bias, layer.bn)
        unit.conv.weight.copy_(weight)
        assert unit.conv.bias is not None  # norm "none" always has one
        unit.conv.bias.copy_(bias)
        return 2
    unit.conv.weight.copy_(weight)
    _fill_bn(unit.bn, bias, layer.bn)
    return 5


def _folded(weight: Tensor, bias: Tensor, bn: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    scale = bn["weight"] / torch.sqrt(bn["running_var"] + 1e-5)
    return weight * scale.view(-1, 1, 1, 1), (bias - bn["running_mean"]) * scale + bn["bias"]


def _fill_bn(target: nn.BatchNorm2d, bias: Tensor, bn: Mapping[str, Tensor] | None) -> None:
    """BatchNorm of the file, or one that passes a folded layer through unchanged."""
    if bn is None:
        assert target.running_mean is not None
        assert target.running_var is not None
        target.running_mean.zero_()
        target.running_var.fill_(1 - target.eps)
        target.weight.fill_(1)
        target.bias.copy_(bias)
        return
    target.load_state_dict({key: bn[key] for key in bn}, strict=False)
    assert target.running_mean is not None
    target.running_mean.sub_(bias)
