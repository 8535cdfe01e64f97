"""The label-free threshold: the cut whose boxes survive a change of view.

An object has one box. A cut that finds it finds the same box again when the camera zooms in, and
what is left of it when the view ends inside it. A cut that lets background in gives another box
with every view; so does one that keeps only the strongest part, wherever that part is out of view
and the next strongest takes its place.

No factor on the map and no size of objects is assumed. What was chosen is how far to zoom
(docs/evaluation.md): a little shows no difference between a part and the whole, and in a view that
lies inside the object every low cut is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics.iou import aligned_iou
from bas_edge.ops import maps_to_boxes

__all__ = ["CUTS", "SIDES", "ViewAgreement", "random_windows", "view_agreement"]

CUTS: NDArray[np.float64] = np.arange(1, 46) / 50  # 0.02, 0.04, … 0.90
SIDES = (0.6, 0.9)  # of a window, as parts of the frame
_REACH = 2  # neighbouring cuts on each side that are averaged
_PEAK = 0.98  # of the highest κ: what lies above counts as its peak


@dataclass(frozen=True, slots=True)
class ViewAgreement:
    """How well boxes agree in each of V views, at each of T cuts.

    Attributes:
        cuts: [T] float64, fractions of each map's range.
        observed: [V, T], mean IoU of a frame's box and the box found in a window of it.
        chance: [V, T], the same with the boxes of all other frames in its place.
    """

    cuts: NDArray[np.float64]
    observed: NDArray[np.float64]
    chance: NDArray[np.float64]

    @property
    def kappa(self) -> NDArray[np.float64]:
        """Agreement beyond chance [T], at most 1 (J. Cohen, 1960): boxes of whole frames score 0.

        `observed` alone would be best where every box is the frame. Views are averaged after the
        correction: chance is higher the less of a frame they show.
        """
        room = 1 - self.chance
        kappa = np.where(room > 0, (self.observed - self.chance) / np.where(room > 0, room, 1), 0)
        mean: NDArray[np.float64] = kappa.mean(axis=0)
        return mean

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """`kappa` [T], each the mean of up to five neighbours: a few hundred boxes are noisy."""
        kernel = np.ones(2 * _REACH + 1)
        sums = np.convolve(self.kappa, kernel, "full")[_REACH:-_REACH]
        counts = np.convolve(np.ones(len(self.kappa)), kernel, "full")[_REACH:-_REACH]
        smoothed: NDArray[np.float64] = sums / counts
        return smoothed

    @property
    def cut(self) -> float:
        """Where boxes agree most: the middle of the peak of `smoothed`.

        Peaks are flat, and their highest point moves with the choice of images. The middle is the
        mean of the cuts around it that come within 2 %, weighted by what they have above that.
        """
        smoothed = self.smoothed
        top = int(smoothed.argmax())
        above = smoothed - _PEAK * smoothed[top]
        if above[top] <= 0:  # no cut does better than chance
            return float(self.cuts[top])
        outside = np.flatnonzero(above < 0)
        first = outside[outside < top].max(initial=-1) + 1
        last = outside[outside > top].min(initial=len(above))
        peak = slice(first, last)
        return float((above[peak] * self.cuts[peak]).sum() / above[peak].sum())


def random_windows(
    frames: int, views: int, side: int, *, sides: tuple[float, float] = SIDES
) -> NDArray[np.int64]:
    """Square windows at random places of `frames` square frames, always the same ones.

    Args:
        frames, views: How many frames, and windows into each; those of one view have one size.
        side: Of a frame, in pixels.
        sides: Between which parts of a frame's side those of the windows are spread evenly.

    Returns:
        [views, frames, 4], xyxy in pixels of the frame.
    """
    rng = np.random.default_rng(0)
    steps = (np.arange(views) + 0.5) / views
    parts = sides[0] + (sides[1] - sides[0]) * steps
    lengths = np.maximum(1, np.round(parts * side)).astype(np.int64)[:, None, None]
    start = (rng.random((views, frames, 2)) * (side - lengths + 1)).astype(np.int64)
    return np.concatenate([start, start + lengths], axis=-1)


def view_agreement(
    whole: NDArray[np.float32],
    views: NDArray[np.float32],
    windows: NDArray[np.int64],
    side: int,
    cuts: NDArray[np.float64] = CUTS,
) -> ViewAgreement:
    """Compare the boxes of whole frames with those of windows of them, at every cut.

    Boxes are those of `maps_to_boxes`; what a window does not show of a frame's box is left out of
    the comparison.

    Args:
        whole: [M, h, w] float32, maps of M frames.
        views: [V, M, h, w] float32, maps of V windows of each, stretched to the network's input.
        windows: [V, M, 4], where the windows lie, xyxy in pixels of the network's input.
        side: Of the network's square input, in pixels.
        cuts: [T].

    Raises:
        InputError: There are fewer than two frames: chance needs another one.
    """
    if len(whole) < 2:
        raise InputError(
            f"Boxes of {len(whole)} images cannot be compared: at least 2 are needed.",
            hint="Give more images.",
        )
    count = len(whole)
    observed, chance = np.empty((2, len(views), len(cuts)))
    for t, cut in enumerate(cuts):
        of_frames = _boxes(whole, cut, side)
        for v, (maps, window) in enumerate(zip(views, windows, strict=True)):
            ious = _pair_ious(of_frames, _boxes(maps, cut, side), window.astype(np.float64), side)
            own = np.trace(ious)
            observed[v, t] = own / count
            chance[v, t] = (ious.sum() - own) / (count * (count - 1))
    return ViewAgreement(cuts, observed, chance)


def _boxes(maps: NDArray[np.float32], cut: float, side: int) -> NDArray[np.float64]:
    """[M, 4] in pixels of the input; the whole of it where nothing is found."""
    result = maps_to_boxes(maps, (side, side), float(cut))
    boxes = result.boxes[:, 0].astype(np.float64)
    return np.where(result.found[:, None], boxes, np.array([0.0, 0.0, side, side]))


def _pair_ious(
    of_frames: NDArray[np.float64],
    of_windows: NDArray[np.float64],
    windows: NDArray[np.float64],
    side: int,
) -> NDArray[np.float64]:
    """IoU [M, M] in each window (rows) of its own box and what it would show of each frame's."""
    corner, size = windows[:, None, :2], windows[:, None, 2:] - windows[:, None, :2]
    found = (corner + of_windows.reshape(-1, 2, 2) * size / side).reshape(-1, 1, 4)
    low, high = windows[:, None, None, :2], windows[:, None, None, 2:]
    shown = np.clip(of_frames.reshape(1, -1, 2, 2), low, high).reshape(len(windows), -1, 4)
    return aligned_iou(found, shown)
