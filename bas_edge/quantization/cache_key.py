"""What decides measured statistics; and, in words, what became different."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

import msgspec

from bas_edge.quantization.frames import CalibrationFrames

__all__ = ["CacheKey", "differences", "statistics_key"]


class CacheKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that decides the statistics of one calibration.

    Attributes:
        model, source: Names of the model and of the images. They find the entry to compare
            with, and decide nothing.
        structure, weights: SHA-256 of the graph without its weights, and of these.
        images: SHA-256 of each image in order, with "#index" for a frame of a video.
        preprocessing: How frames become the input, in words.
        statistics: Version of what is measured and how it is stored.
        versions: Of the libraries that decode, run and measure.
    """

    model: str
    source: str
    structure: str
    weights: str
    images: tuple[str, ...]
    preprocessing: str
    statistics: int
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides, in hexadecimal."""
        deciding = msgspec.structs.replace(self, model="", source="")
        return hashlib.sha256(msgspec.json.encode(deciding, order="sorted")).hexdigest()


def statistics_key(
    *,
    model: str,
    structure: bytes,
    weights: bytes,
    frames: CalibrationFrames,
    statistics: int,
    versions: Mapping[str, str],
) -> CacheKey:
    """The key of what is measured on these frames with this graph.

    Args:
        model: Name of the model, such as that of its file.
        structure: The graph without its weights, serialized.
        weights: The weights, one after another.
        frames: What it is measured on, at the network's size.
        statistics: Version of what is measured.
        versions: Of the libraries, such as {"onnxruntime": "1.23.2"}.
    """
    policy = frames.policy
    return CacheKey(
        model=model,
        source=frames.source,
        structure=hashlib.sha256(structure).hexdigest(),
        weights=hashlib.sha256(weights).hexdigest(),
        images=tuple(item.content for item in frames.items),
        preprocessing=f"{policy.height} × {policy.width}, {policy.resize}",
        statistics=statistics,
        versions=dict(versions),
    )


def differences(old: CacheKey, new: CacheKey) -> list[str]:
    """What changed from `old` to `new`, one part of a sentence each; empty if nothing did."""
    changed = []
    if old.structure != new.structure:
        changed.append("the graph's structure changed")
    if old.weights != new.weights:
        changed.append("the graph's weights changed")
    if old.images != new.images:
        changed.append(_image_difference(old.images, new.images))
    if old.preprocessing != new.preprocessing:
        changed.append(f"the input was {old.preprocessing}, is {new.preprocessing}")
    if old.statistics != new.statistics:
        changed.append(f"the statistics were of version {old.statistics}, are {new.statistics}")
    for name in sorted(old.versions | new.versions):
        before, now = old.versions.get(name, "absent"), new.versions.get(name, "absent")
        if before != now:
            changed.append(f"{name} was {before}, is {now}")
    return changed


def _image_difference(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    added = (Counter(new) - Counter(old)).total()
    if len(old) == len(new):
        if added:
            return f"{added} of {len(new)} images changed"
        return f"the order of the {len(new)} images changed"
    return f"there were {len(old)} images and are {len(new)}, {added} of them new"
