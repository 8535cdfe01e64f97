"""Weights of a backbone that is made of other modules than ConvUnits: tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bas_edge.errors import InputError

from .backbone import Dialect
from .bas import BasModel

__all__ = ["fill_foreign"]

_OPTIONAL = "num_batches_tracked"  # of BatchNorm: a count that nothing here reads


def fill_foreign(
    model: BasModel, tensors: Mapping[str, Tensor], dialect: Dialect | None, path: Path
) -> tuple[int, tuple[str, ...]]:
    """Fill trunk and tail; returns how many tensors were set, and the names of those left over.

    Args:
        model: Of a `foreign` backbone.
        tensors: Of the file.
        dialect: How the file names modules; None for a checkpoint of this package.
        path: The file, for errors.

    Raises:
        InputError: One is missing or has another shape. Nothing has been changed then.
    """
    own = {
        key: value
        for key, value in model.state_dict(keep_vars=True).items()
        if key.startswith(("trunk.", "tail."))
    }
    found: dict[str, str] = {}
    for key, value in own.items():
        name = key if dialect is None else _name(key, dialect)
        if name in tensors:
            found[key] = name
            if tensors[name].shape != value.shape:
                raise InputError(
                    f"{path.name}: {name} has shape {list(tensors[name].shape)}; this model needs "
                    f"{list(value.shape)}.",
                    hint=f"Is the file one of {model.config.architecture}?",
                )
        elif not key.endswith(_OPTIONAL):
            family = "" if dialect is None else f" of {dialect.family} names"
            raise InputError(
                f"{path} lacks {name}, so it is no file{family} for a {model.config.architecture}.",
                hint=f"Its first tensor is {next(iter(tensors), 'missing: it is empty')}.",
            )
    with torch.no_grad():
        for key, name in found.items():
            own[key].copy_(tensors[name])
    return len(found), tuple(sorted(set(tensors) - set(found.values())))


def _name(key: str, dialect: Dialect) -> str:
    """In the file: of "trunk.layer3.0.conv1.weight", timm's "layer3.0.conv1.weight"."""
    module, _, last = key.partition(".")[2].rpartition(".")
    stem = dialect.names(module)[0]
    return f"{stem}.{last}" if stem else last
