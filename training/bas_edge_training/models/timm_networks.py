"""`timm:NAME`: any network of timm that is a row of blocks, as a backbone.

Its modules keep their names, initialisation and BatchNorm. At map stride 16 it is the network as
timm trained it, cut behind its last features at that stride. At map stride 8 it is the form that
timm dilates (`output_stride`): a 2x2 mean halves the map between trunk and tail, so that the tail
reads cells as far apart as it was trained on, as in the backbones of this package.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from typing import Any

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bas_edge._require import require
from bas_edge.errors import InputError

from .backbone import Backbone, Dialect, Features, Tail, Trunk
from .config import TORCHVISION, Conventions, ModelConfig
from .looking import displacement
from .timm_cut import Cut, find_cut
from .timm_dilation import reads_alike

__all__ = ["PREFIX", "timm_backbone"]

PREFIX = "timm:"


@functools.lru_cache
def timm_backbone(architecture: str) -> Backbone:
    """The backbone of `timm:NAME` or `timm:NAME.TAG`, for example "timm:resnet18".

    Raises:
        MissingExtraError: timm is not installed.
        InputError: timm has no such network, or knows no such TAG of it.
    """
    timm, name = _timm(), architecture.removeprefix(PREFIX)
    if not timm.is_model(name):
        plain = name.partition(".")[0]
        close = difflib.get_close_matches(plain, timm.list_models(), n=3)
        raise InputError(
            f"timm has no network '{name}'.",
            hint=f"Did you mean {', '.join(close)}?" if close else "timm.list_models() has all.",
        )
    return Backbone(
        build=_build,
        dialects=(Dialect("timm's", _conventions(timm, name), lambda path: (path, "")),),
        map_strides=(8, 16),
        foreign=True,
    )


class TimmTrunk(Trunk):
    """The row's modules up to F, under their own names; `fine` leaves its first block there."""

    def __init__(self, network: nn.Module, cut: Cut, config: ModelConfig) -> None:
        super().__init__()
        self.channels, self.fine_channels = cut.channels, cut.fine_channels
        self._paths, self._fine = cut.trunk, cut.fine
        _adopt(self, network, cut.trunk)
        if config.centred:
            found = displacement(self, config.map_stride)
            if found is None:
                raise InputError(
                    f"{config.architecture} cannot be centred: where its cells look does not "
                    "follow from convolutions and pooling.",
                    hint="--set model.centred=false",
                )
            self.displacement = found

    def forward(self, x: Tensor) -> Features:
        fine = None
        for path in self._paths:
            x = self.get_submodule(path)(x)
            if path == self._fine:
                fine = x
        return Features(x, fine)


class TimmTail(Tail):
    """The rest of the row: [N, channels, h, w] -> [N, channels', h / 2, w / 2]."""

    def __init__(self, network: nn.Module, cut: Cut, *, pooled: bool) -> None:
        super().__init__()
        self.channels = cut.tail_channels
        self._paths, self._pooled = cut.tail, pooled
        _adopt(self, network, cut.tail)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 2) if self._pooled else x
        for path in self._paths:
            x = self.get_submodule(path)(x)
        return x


def _timm() -> Any:
    return require("timm", extra="timm", purpose="A backbone timm:NAME")


def _conventions(timm: Any, name: str) -> Conventions:
    """Of the weights that timm has for this name: its pixels lie between 0 and 1, ours to 255."""
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # so it says that it does not know the tag
        plain = name.partition(".")[0]
        close = difflib.get_close_matches(name, timm.list_pretrained(f"{plain}.*"), n=3, cutoff=0)
        raise InputError(
            f"timm has no weights '{name}'.",
            hint=f"Did you mean {', '.join(close) or plain}?",
        ) from error
    if known is None:  # a network without any weights, such as one that a user registered
        return TORCHVISION
    mean, std = (tuple(255.0 * value for value in values) for values in (known.mean, known.std))
    return msgspec.structs.replace(TORCHVISION, mean=mean, std=std)


def _build(config: ModelConfig) -> tuple[Trunk, Tail]:
    name, fine = config.architecture, config.map_stride == 8
    if config.width != 1:
        raise InputError(f"{name} has width 1, not {config.width:g}.")
    if fine and not config.atrous:
        raise InputError(
            f"{name} is dilated at map stride 8, so atrous is true, not false.",
            hint="--set model.atrous=true, or --set model.map_stride=16",
        )
    cuts = _cuts(name) if fine else (_cut(name), _cut(name))
    if cuts is None:
        raise InputError(
            f"{name} has map_stride 16, not 8: timm has no dilated form of it that reads what it "
            "was trained on.",
            hint="--set model.map_stride=16",
        )
    front = _network(name, 8 if fine else None)
    back = _network(name, 16) if fine else front
    return TimmTrunk(front, cuts[0], config), TimmTail(back, cuts[1], pooled=fine)


@functools.lru_cache
def _cut(architecture: str) -> Cut:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        return find_cut(_network(architecture), architecture)


@functools.lru_cache
def _cuts(architecture: str) -> tuple[Cut, Cut] | None:
    """For map stride 8: of timm's form that ends at stride 8, the trunk's, and at 16, the tail's.

    None where timm has no such forms, or its dilated filters read other cells than the original's.
    """
    original, cuts = _cut(architecture), []
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        for stride in (8, 16):
            try:
                network = _network(architecture, stride)
                cut = find_cut(network, architecture, like=original, stride=stride)
            except (TypeError, AssertionError, NotImplementedError, ValueError, RuntimeError):
                return None  # how timm's networks, and find_cut, say that there is none
            if cut.tail_stride != stride:
                return None
            cuts.append(cut)
            if stride == 8 and not reads_alike(_network(architecture), original, network, cut):
                return None
    return cuts[0], cuts[1]


def _network(architecture: str, output_stride: int | None = None) -> nn.Module:
    """One of timm's, with weights of its own initialisation; nothing in it works in place."""
    create, name = _timm().create_model, architecture.removeprefix(PREFIX)
    network: nn.Module
    if output_stride is None:
        network = create(name)
    else:
        try:
            network = create(name, output_stride=output_stride)
        except TypeError:  # MobileNetV3s take it only without their classifier
            network = create(name, output_stride=output_stride, features_only=True)
    module: Any
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # what leaves a module has several readers here
    return network


def _adopt(owner: nn.Module, network: nn.Module, paths: Iterable[str]) -> None:
    """Make modules of a network those of `owner`, under the same paths."""
    for path in paths:
        *parents, last = path.split(".")
        place = owner
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        place.add_module(last, network.get_submodule(path))
