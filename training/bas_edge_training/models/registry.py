"""Every backbone by its name. docs/backbones.md shows how to add one."""

from __future__ import annotations

import difflib
from importlib import metadata

from bas_edge.errors import InputError

from .backbone import Backbone
from .inception_v3 import INCEPTION_V3
from .mobilenet_v1 import MOBILENET_V1
from .mobilenet_v2 import MOBILENET_V2
from .resnet50 import RESNET50
from .timm_networks import PREFIX, timm_backbone
from .vgg16 import VGG16

__all__ = ["backbone_names", "find_backbone", "register_backbone"]

_ENTRY_POINTS = "bas_edge.backbones"  # where other packages offer theirs

_BACKBONES: dict[str, Backbone] = {
    "mobilenet_v1": MOBILENET_V1,
    "mobilenet_v2": MOBILENET_V2,
    "vgg16": VGG16,
    "resnet50": RESNET50,
    "inception_v3": INCEPTION_V3,
}


def register_backbone(name: str, backbone: Backbone) -> None:
    """Make an architecture known to recipes, checkpoints and `build_model`.

    Raises:
        ValueError: The name is taken by another one.
    """
    if _BACKBONES.setdefault(name, backbone) is not backbone:
        raise ValueError(f"there is a backbone of the name {name} already")


def backbone_names() -> list[str]:
    """Names of all backbones, those of installed packages among them, without timm's."""
    return sorted({*_BACKBONES, *_offered()})


def find_backbone(name: str) -> Backbone:
    """The backbone of this name; `timm:NAME` is one of timm's networks.

    Raises:
        InputError: There is none, or what a package offers by this name is no Backbone.
        MissingExtraError: It is one of timm's, and timm is not installed.
    """
    if name not in _BACKBONES:
        if name.startswith(PREFIX):
            return timm_backbone(name)
        offered = _offered().get(name)
        if offered is None:
            raise _unknown(name)
        backbone = offered.load()
        if not isinstance(backbone, Backbone):
            raise InputError(
                f"{offered.value}, offered as the backbone '{name}', is a "
                f"{type(backbone).__name__}, not a Backbone.",
                hint="It is an entry point of an installed package: mend or remove that.",
            )
        register_backbone(name, backbone)
    return _BACKBONES[name]


def _offered() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=_ENTRY_POINTS)}


def _unknown(name: str) -> InputError:
    known = backbone_names()
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"Did you mean '{close[0]}'? " if close else ""
    return InputError(
        f"There is no backbone '{name}'.",
        hint=f"{guess}Known: {', '.join(known)}, and {PREFIX}NAME.",
    )
