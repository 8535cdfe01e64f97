"""The options of a Localizer, checked against what its engine can do."""

from __future__ import annotations

import math

from bas_edge.engine.manifest import Manifest, ThresholdPolicy
from bas_edge.errors import InputError

__all__ = ["check_threads", "least_score", "maps_averaged", "threshold_policy"]


def threshold_policy(
    threshold: float | ThresholdPolicy | None, manifest: Manifest
) -> ThresholdPolicy:
    """What was asked for, or the engine's override, or its own.

    Raises:
        InputError: It is no fraction.
    """
    if threshold is None:
        threshold = manifest.overrides.threshold
        if threshold is None:
            return manifest.threshold
    if isinstance(threshold, ThresholdPolicy):
        return threshold
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold is {threshold}, but a fraction of the map's range is 0 to 1.")
    return ThresholdPolicy(rule="fixed", value=float(threshold), chosen_by="Localizer(threshold=…)")


def maps_averaged(top_k: int | None, manifest: Manifest) -> int:
    """As `threshold_policy`, for `top_k`.

    Raises:
        InputError: The engine does not compute as many maps.
    """
    if top_k is None:
        return manifest.overrides.top_k or manifest.top_k
    if manifest.maps == "mean":
        raise InputError(
            f"top_k is {top_k}, but this engine emits one averaged map (maps: mean).",
            hint="Leave top_k out, or export with --maps all or --maps selected.",
        )
    if not 1 <= top_k <= manifest.k:
        raise InputError(
            f"top_k is {top_k}, but this engine computes {manifest.k} class maps, so it must be "
            f"1 to {manifest.k}.",
            hint="Lower top_k, or export with a larger --k.",
        )
    return top_k


def least_score(min_score: float | None, manifest: Manifest) -> float:
    """As `threshold_policy`, for `min_score`.

    Raises:
        InputError: It is no probability.
    """
    if min_score is None:
        own = manifest.overrides.min_score
        return manifest.min_score if own is None else own
    if not 0 <= min_score <= 1 or math.isnan(min_score):
        raise InputError(f"min_score is {min_score}, but a softmax probability is 0 to 1.")
    return float(min_score)


def check_threads(threads: int | None) -> None:
    """Refuse what is no number of threads.

    Raises:
        InputError: It is less than 1.
    """
    if threads is not None and threads < 1:
        raise InputError(
            f"threads is {threads}, but must be 1 or more.",
            hint="Leave threads out, and the backend chooses.",
        )
