"""The published recipes: one file of a few tables instead of one nearly equal file for each."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["PUBLISHED_FILE", "published_recipes"]

PUBLISHED_FILE = "published.toml"
_COMMON, _BACKBONES = "common", "backbones"


@lru_cache(maxsize=1)
def published_recipes() -> Mapping[str, Mapping[str, Any]]:
    """Name of each recipe, such as "cub_vgg16_published" → its content by section.

    A recipe is the table `common`, over it that of its set, over it the line of its backbone.
    """
    entry = resources.files("bas_edge_training") / "recipes" / PUBLISHED_FILE
    tables: dict[str, dict[str, Any]] = tomllib.loads(entry.read_text(encoding="utf-8"))
    common = tables.pop(_COMMON)
    found: dict[str, Mapping[str, Any]] = {}
    for name, table in tables.items():
        for backbone, own in table.pop(_BACKBONES).items():
            model = {"model": {"architecture": backbone}}
            found[f"{name}_{backbone}_published"] = _merged(common, model, table, own)
    return found


def _merged(*layers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Sections of all layers; of a key that several have, the last one counts."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, keys in layer.items():
            merged.setdefault(section, {}).update(keys)
    return merged
