"""Pretrained backbones: files of many families, and checkpoints of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from bas_edge.errors import InputError

from .backbone import Backbone, Dialect
from .bas import BasModel
from .config import CHECKPOINT_KEY, TORCHVISION, Conventions
from .foreign_weights import fill_foreign
from .layers import ConvUnit
from .registry import backbone_names, find_backbone
from .weight_files import read_weights, stated_conventions

__all__ = ["Layer", "PretrainedReport", "backbone_units", "fill_unit", "load_pretrained"]

_PUBLISHED = "classifier_loc.0.weight"  # the generator of BAS's published networks
BN_KEYS = ("weight", "bias", "running_mean", "running_var")


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


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution of a file; `bn` has weight, bias, running_mean and running_var."""

    weight: Tensor
    bias: Tensor | None = None
    bn: Mapping[str, Tensor] | None = None


def load_pretrained(model: BasModel, path: str | Path) -> PretrainedReport:
    """Fill the backbone (trunk and tail) from a file; heads keep their initialisation.

    Reads safetensors, or a `.pth`/`.pt` state dict with `weights_only=True`. Layers are matched
    by name, in any of the backbone's dialects or those of a `checkpoint.safetensors` that
    `bas-edge train` wrote; MobileNetV1s of unknown names by order. BatchNorm is folded into the
    convolutions of a model with norm "none", and kept in one with norm "batch". Where the backbone
    is `foreign` (timm's), tensors are matched by their names.

    Raises:
        InputError: The file is missing or unreadable, of another backbone, or of another width.
    """
    path = Path(path)
    tensors, metadata = read_weights(path)
    if _PUBLISHED in tensors:  # its names are the family's, its conventions and strides are not
        raise InputError(
            f"{path} is a checkpoint that BAS published, not one of a backbone.",
            hint="bas-edge import-checkpoint makes a run of it, whose checkpoint.safetensors fits.",
        )
    units = backbone_units(model)
    backbone = find_backbone(model.config.architecture)
    if backbone.foreign:
        return _foreign(model, backbone, path, tensors, metadata)
    dialect = _dialect(tensors, units, backbone)
    if CHECKPOINT_KEY in metadata:
        described = _described(metadata[CHECKPOINT_KEY], path)
        _require_same_reading(described, model, backbone, path)
        conventions = described.conventions
        layers, ignored = _of_checkpoint(tensors, units, path)
    elif dialect is not None and not _misfit(tensors, units, dialect):
        layers, ignored = _named(tensors, units, dialect)
        conventions = stated_conventions(metadata, dialect.conventions)
    elif other := _architecture_of(tensors, model):
        raise InputError(
            f"{path} holds a {other}, and this model is a {model.config.architecture}.",
            hint=f"--set model.architecture={other}, or another file.",
        )
    elif dialect is not None:
        raise InputError(
            f"{path} has {dialect.family} names, but {_misfit(tensors, units, dialect)}, "
            f"so it is no {model.config.architecture}.",
            hint="Give a file of this architecture.",
        )
    elif backbone.ordered:
        layers, ignored = _ordered(tensors, units, path)
        conventions = stated_conventions(metadata, TORCHVISION)
    else:
        raise InputError(
            f"{path} has none of the names of a {model.config.architecture}; its first is "
            f"{next(iter(tensors), 'missing: the file is empty')}.",
            hint="Known are those of: " + ", ".join(one.family for one in backbone.dialects) + ".",
        )
    with torch.no_grad():
        loaded = sum(
            fill_unit(unit, layers[name], f"{path.name}: {name}") for name, unit in units.items()
        )
    model.set_conventions(conventions)
    return PretrainedReport(path, loaded, tuple(ignored), conventions)


def backbone_units(model: BasModel) -> dict[str, ConvUnit]:
    """Every backbone convolution by its path in the model, in order."""
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, ConvUnit) and path.startswith(("trunk.", "tail."))
    }


def fill_unit(unit: ConvUnit, layer: Layer, where: str) -> int:
    """Copy one layer; returns how many tensors were set.

    Raises:
        InputError: Another shape; `where` names the layer in the file.
    """
    if layer.weight.shape != unit.conv.weight.shape:
        raise InputError(
            f"{where} has shape {list(layer.weight.shape)}; this model needs "
            f"{list(unit.conv.weight.shape)}.",
            hint="The width has to be that of the file, for example: --set model.width=0.5",
        )
    weight = layer.weight.float()
    bias = torch.zeros(weight.shape[0]) if layer.bias is None else layer.bias.float()
    if unit.bn is None:
        if layer.bn is not None:
            weight, bias = _folded(weight, bias, layer.bn, unit.epsilon)
        unit.conv.weight.copy_(weight)
        assert unit.conv.bias is not None  # norm "none" always has one
        unit.conv.bias.copy_(bias)
        return 2
    unit.conv.weight.copy_(weight)
    _fill_bn(unit.bn, bias, layer.bn)
    return 5


def _foreign(
    model: BasModel,
    backbone: Backbone,
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
) -> PretrainedReport:
    """A file for a backbone of other modules: its own names, or those of our checkpoints."""
    dialect, conventions = None, stated_conventions(metadata, backbone.conventions)
    if CHECKPOINT_KEY in metadata:
        described = _described(metadata[CHECKPOINT_KEY], path)
        _require_same_reading(described, model, backbone, path)
        conventions = described.conventions
    else:
        dialect = next(iter(backbone.dialects), None)
    loaded, ignored = fill_foreign(model, tensors, dialect, path)
    model.set_conventions(conventions)
    return PretrainedReport(path, loaded, ignored, conventions)


class _Model(msgspec.Struct):
    conventions: Conventions
    atrous: bool
    architecture: str = "mobilenet_v1"
    map_stride: int = 8


class _Description(msgspec.Struct):
    """Of a checkpoint, the part that its backbone needs."""

    model: _Model


def _described(description: str, path: Path) -> _Model:
    try:
        return msgspec.json.decode(description, type=_Description).model
    except msgspec.DecodeError as error:
        raise InputError(
            f"{path} was written by a bas-edge whose description this version cannot read: {error}."
        ) from error


def _require_same_reading(
    described: _Model, model: BasModel, backbone: Backbone, path: Path
) -> None:
    """Weights fit where their filters read the same cells: dilated, or at the original stride."""
    config = model.config
    if described.architecture != config.architecture:
        raise InputError(
            f"{path} holds a {described.architecture}, and this model is a {config.architecture}.",
            hint=f"--set model.architecture={described.architecture}, or another file.",
        )
    trained = backbone.reads_as_trained(atrous=described.atrous, map_stride=described.map_stride)
    here = backbone.reads_as_trained(atrous=config.atrous, map_stride=config.map_stride)
    if trained == here:
        return
    has = "map stride 16" if config.map_stride == 16 else str(config.atrous)
    hint = "--set model.atrous=true"
    if here:
        stride = "--set model.map_stride=8 " if config.map_stride == 16 else ""
        hint = f"{stride}--set model.atrous=false"
    raise InputError(
        f"{path} was trained with atrous = {described.atrous}, this model has {has}: its filters "
        "would read other cells.",
        hint=hint,
    )


def _dialect(
    tensors: Mapping[str, Tensor], units: Mapping[str, ConvUnit], backbone: Backbone
) -> Dialect | None:
    """The dialect in which the file has the first layer, and most others; None where none has."""
    first = next(iter(units))
    spoken = [d for d in backbone.dialects if f"{d.names(first)[0]}.weight" in tensors]
    return min(spoken, key=lambda one: len(_missing(tensors, units, one)), default=None)


def _missing(
    tensors: Mapping[str, Tensor], units: Mapping[str, ConvUnit], dialect: Dialect
) -> list[str]:
    """Tensors that the backbone needs and the file has not under this dialect's names."""
    needed = []
    for place in units:
        conv, norm = dialect.names(place)
        needed += [f"{conv}.weight", *(f"{norm}.{key}" for key in BN_KEYS if norm)]
    return [name for name in needed if name not in tensors]


def _misfit(tensors: Mapping[str, Tensor], units: Mapping[str, ConvUnit], dialect: Dialect) -> str:
    """What shows that a file under this dialect's names is of another network; "" if nothing does.

    A deeper network has all that a backbone needs, and more among it: ResNet101's layer3.6 beside
    ResNet50's layer3.5. A classifier stands apart: fc, AuxLogits.
    """
    if missing := _missing(tensors, units, dialect):
        return f"lacks {missing[0]}"
    parts = {dialect.names(place)[0].partition(".")[0] for place in units}
    for name in _named(tensors, units, dialect)[1]:
        if name.partition(".")[0] in parts:
            return f"has {name}"
    return ""


def _architecture_of(tensors: Mapping[str, Tensor], model: BasModel) -> str | None:
    """The architecture whose layers the file has, all of them; None where it is none we know."""
    for name in backbone_names():
        backbone = find_backbone(name)
        config = msgspec.structs.replace(model.config, architecture=name, norm="none", map_stride=8)
        if name == model.config.architecture or backbone.foreign or backbone.problem(config):
            continue
        with torch.device("meta"):
            units = backbone_units(BasModel(config))
        dialect = _dialect(tensors, units, backbone)
        if dialect is not None and not _misfit(tensors, units, dialect):
            return name
    return None


def _named(
    tensors: Mapping[str, Tensor], units: Mapping[str, ConvUnit], dialect: Dialect
) -> tuple[dict[str, Layer], list[str]]:
    layers, used = {}, set()
    for place in units:
        conv, norm = dialect.names(place)
        bn = {key: tensors[f"{norm}.{key}"] for key in BN_KEYS} if norm else None
        layers[place] = Layer(tensors[f"{conv}.weight"], tensors.get(f"{conv}.bias"), bn)
        used |= {f"{conv}.weight", f"{conv}.bias", f"{norm}.num_batches_tracked"}
        used |= {f"{norm}.{key}" for key in BN_KEYS}
    return layers, sorted(set(tensors) - used)


def _of_checkpoint(
    tensors: Mapping[str, Tensor], units: Mapping[str, ConvUnit], path: Path
) -> tuple[dict[str, Layer], list[str]]:
    """A checkpoint of another run: the same modules, whatever its heads and classes were."""
    layers = {}
    for place in units:
        if f"model.{place}.conv.weight" in tensors:
            raise InputError(
                f"{path} is the state of an unfinished run.",
                hint="Give its checkpoint.safetensors, or go on with it: --resume.",
            )
        if f"{place}.conv.weight" not in tensors:
            raise InputError(f"{path} lacks {place}.conv.weight, so it has another backbone.")
        bn = {k: tensors[f"{place}.bn.{k}"] for k in BN_KEYS if f"{place}.bn.{k}" in tensors}
        bias = tensors.get(f"{place}.conv.bias")
        layers[place] = Layer(tensors[f"{place}.conv.weight"], bias, bn or None)
    return layers, [name for name in tensors if not name.startswith(("trunk.", "tail."))]


def _ordered(
    tensors: Mapping[str, Tensor], units: Mapping[str, ConvUnit], path: Path
) -> tuple[dict[str, Layer], list[str]]:
    """Convolutions and BatchNorms in file order: how torchvision-style checkpoints are laid out."""
    layers: list[Layer] = []
    used: set[str] = set()
    for name, value in tensors.items():
        if len(layers) < len(units) and name.endswith("weight") and value.dim() == 4:
            bias = tensors.get(name.removesuffix("weight") + "bias")
            layers.append(Layer(value, bias))
            used |= {name, name.removesuffix("weight") + "bias"}
        elif name.endswith("running_var") and layers and layers[-1].bn is None:
            stem = name.removesuffix("running_var")
            bn = {key: tensors[stem + key] for key in BN_KEYS}
            layers[-1] = Layer(layers[-1].weight, layers[-1].bias, bn)
            used |= {stem + key for key in BN_KEYS} | {stem + "num_batches_tracked"}
    if len(layers) < len(units):
        raise InputError(
            f"{path} has {len(layers)} convolutions; a MobileNetV1 backbone has {len(units)}."
        )
    return dict(zip(units, layers, strict=True)), sorted(set(tensors) - used)


def _folded(
    weight: Tensor, bias: Tensor, bn: Mapping[str, Tensor], epsilon: float
) -> tuple[Tensor, Tensor]:
    scale = bn["weight"] / torch.sqrt(bn["running_var"] + epsilon)
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
