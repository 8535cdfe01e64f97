"""From a graph's outputs to one foreground map an image, and from that to boxes on the input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.manifest import MapsForm
from bas_edge.ops import aggregate_maps, maps_to_boxes
from bas_edge.runner import InputBox, RunOptions

__all__ = ["foreground_boxes", "foreground_maps"]


def foreground_maps(
    outputs: Mapping[str, NDArray[Any]], form: MapsForm, top_k: int
) -> NDArray[np.float32]:
    """The maps of the `top_k` best classes, averaged: [N, h, w] float32, unnormalised.

    Args:
        outputs: By name, as the graph contract (docs/graph.md) has them for this form.
        form: Of the graph's maps.
        top_k: How many are averaged; 1 for "mean".

    Raises:
        InputError: NaN or Inf in the result, or a NaN score.
    """
    if form == "mean":
        foreground: NDArray[np.float32] = outputs["foreground"][:, 0]
        return foreground
    maps = outputs["maps"]
    if form == "all":
        return aggregate_maps(maps, outputs["logits"], top_k)
    # The graph has already put the best first; its order decides ties too.
    descending = np.arange(maps.shape[1], 0, -1, dtype=np.float32)
    scores = np.broadcast_to(descending, maps.shape[:2])
    return aggregate_maps(maps, np.ascontiguousarray(scores), top_k)


def foreground_boxes(
    foreground: NDArray[np.float32], options: RunOptions
) -> list[tuple[InputBox, ...]]:
    """The boxes of each map, in pixels of the network's input, largest object first.

    Args:
        foreground: [N, h, w] float32.
        options: Their input size, threshold and `max_boxes`.

    Raises:
        InputError: NaN or Inf in a map.
    """
    policy, threshold = options.manifest.input, options.threshold
    found = maps_to_boxes(
        foreground,
        (policy.height, policy.width),
        threshold.value,
        rule=threshold.rule,
        max_boxes=options.max_boxes,
    )
    counted = zip(found.boxes, found.count, strict=True)
    return [tuple(tuple(box) for box in boxes[:count].tolist()) for boxes, count in counted]
