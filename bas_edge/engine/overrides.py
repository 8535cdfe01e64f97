"""What was set by eye on a running engine, kept in it."""

from __future__ import annotations

import os

from bas_edge.engine.bundle import Engine, update_manifest
from bas_edge.engine.manifest import Overrides
from bas_edge.errors import InputError

__all__ = ["save_overrides"]


def save_overrides(
    path: str | os.PathLike[str],
    *,
    threshold: float | None = None,
    top_k: int | None = None,
    min_score: float | None = None,
) -> Engine:
    """Write overrides into a bundle: a Localizer that is opened from now on starts with them.

    What the manifest says of itself stays, with the accuracy that was measured with it; `inspect`
    shows both. Without any value the overrides are gone.

    Args:
        path: The engine's folder.
        threshold: A fraction of each map's range, 0 to 1.
        top_k: How many class maps are averaged, at most the engine's `k`.
        min_score: Class score for an object, 0 to 1.

    Raises:
        InputError: `path` is a bare `.onnx`, or a value is out of range.
        EngineError: The engine cannot be read or written.
    """
    try:
        overrides = Overrides(threshold=threshold, top_k=top_k, min_score=min_score)
    except ValueError as error:
        raise InputError(f"{error}.") from None
    return update_manifest(path, overrides=overrides)
