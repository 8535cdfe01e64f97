"""How alike the maps and boxes of two entrants are, with or without a truth to hold them to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bas_edge.framing import place
from bas_edge.metrics.bas_protocol import BasProtocol
from bas_edge.metrics.frame_layout import FrameLayout
from bas_edge.metrics.iou import aligned_iou
from bas_edge.ops import upsample_maps
from bas_edge.overlay import heat_on_frame

from .entrants import Entrant
from .report import Agreement

__all__ = ["agreements", "boxes_of", "heats_of"]

_CELLS = (56, 56)  # of the whole frame, on which maps of any grid are held against each other
_CHUNK = 256  # images whose spread maps are in memory at once


def agreements(entrants: Sequence[Entrant]) -> tuple[Agreement, ...]:
    """Every pair, in order."""
    boxes = {each.name: boxes_of(each) for each in entrants}
    pairs = list(combinations(entrants, 2))
    count = len(entrants[0].found.maps)
    related: list[list[float]] = [[] for _ in pairs]
    for start in range(0, count, _CHUNK):
        chosen = range(start, min(start + _CHUNK, count))
        spread = {each.name: _spread(heats_of(each, chosen)) for each in entrants}
        for (one, other), found in zip(pairs, related, strict=True):
            found += _correlations(spread[one.name], spread[other.name])
    return tuple(
        Agreement(
            first=one.name,
            second=other.name,
            box_iou=float(aligned_iou(boxes[one.name], boxes[other.name]).mean()),
            correlation=float(np.mean(found)) if found else None,
        )
        for (one, other), found in zip(pairs, related, strict=True)
    )


def boxes_of(entrant: Entrant) -> NDArray[np.float64]:
    """At its own threshold: [N, 4] xyxy in pixels of the original frames, half-open."""
    policy, cut, found = entrant.policy, entrant.threshold, entrant.found
    layout = FrameLayout.of_frames(found.frame_sizes, policy)
    judge = BasProtocol((policy.height, policy.width))
    return judge.boxes(found.maps, layout, cut.value, cut.rule)


def heats_of(entrant: Entrant, images: Sequence[int]) -> NDArray[np.uint8]:
    """Maps of M images, each scaled to 0..255 and spread over the whole frame: [M, h, w]."""
    found = entrant.found
    placed = ((found.maps[at], place(found.frame_sizes[at], entrant.policy)) for at in images)
    return np.stack([heat_on_frame(cells, placement) for cells, placement in placed])


def _spread(heats: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[N, h, w] -> [N, P], the same cells of the frame for every entrant; their mean is 0."""
    cells = upsample_maps(heats.astype(np.float32), _CELLS).reshape(len(heats), -1)
    return cells - cells.mean(axis=1, keepdims=True, dtype=np.float64)


def _correlations(first: NDArray[np.float64], second: NDArray[np.float64]) -> list[float]:
    """Pearson's, of each image where neither map is flat."""
    size = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    uneven = size > 0
    found: list[float] = ((first * second).sum(axis=1)[uneven] / size[uneven]).tolist()
    return found
