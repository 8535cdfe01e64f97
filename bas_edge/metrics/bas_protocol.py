"""Protocol "bas": the box that the runtime returns, compared in the original frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bas_edge.metrics.frame_layout import FrameLayout
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.iou import aligned_iou
from bas_edge.metrics.protocols import THRESHOLDS, BoxIous, ProtocolName, Rule
from bas_edge.ops import maps_to_boxes, upsample_maps

__all__ = ["BasProtocol"]


class BasProtocol:
    """One box per map, round the largest 8-connected region, exactly as `Localizer` finds it.

    Boxes are half-open, mapped back to the original frame and clipped to it; a map without
    foreground there predicts the whole frame. A box is correct when IoU > level, strictly, as the
    published code tests it.
    """

    name: ProtocolName = "bas"
    thresholds = THRESHOLDS

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def ious(
        self,
        maps: NDArray[np.float32],
        truth: GroundTruth,
        threshold: float | NDArray[np.float32],
        rule: Rule = "fixed",
    ) -> BoxIous:
        """IoUs [N] at one cut; see `BoxProtocol`."""
        predicted = self.boxes(maps, truth, threshold, rule)
        found = aligned_iou(predicted[:, None], truth.boxes).max(axis=1, initial=0.0)
        return BoxIous(largest=found, best=found)

    def sweep(
        self,
        maps: NDArray[np.float32],
        truth: GroundTruth,
        thresholds: NDArray[np.float64],
        rule: Rule = "fixed",
    ) -> BoxIous:
        """IoUs [T, N] on a grid of cuts; see `BoxProtocol`."""
        rows = [self.ious(maps, truth, float(t), rule).largest for t in thresholds]
        found = np.stack(rows) if rows else np.zeros((0, len(maps)))
        return BoxIous(largest=found, best=found)

    def correct(self, ious: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
        """IoU > level."""
        return ious > level

    def pixel_scores(self, foreground: NDArray[np.float32]) -> NDArray[np.float64]:
        """Bilinear, then the fraction of the low-resolution map's range, as the cut counts it."""
        low, span = float(foreground.min()), float(np.ptp(foreground.astype(np.float64)))
        if span == 0:
            return np.zeros(self.size)
        scores = (upsample_maps(foreground[None], self.size)[0].astype(np.float64) - low) / span
        clipped: NDArray[np.float64] = np.clip(scores, 0.0, 1.0)  # interpolation rounds
        return clipped

    def boxes(
        self,
        maps: NDArray[np.float32],
        frames: FrameLayout,
        threshold: float | NDArray[np.float32],
        rule: Rule = "fixed",
    ) -> NDArray[np.float64]:
        """The predicted boxes: [N, 4] float64 in pixels of the original frames."""
        result = maps_to_boxes(maps, self.size, threshold, rule=rule)
        in_frame = frames.to_frame(result.boxes[:, 0].astype(np.float64))
        visible = (in_frame[:, 2:] > in_frame[:, :2]).all(axis=1)
        whole = np.concatenate([np.zeros_like(frames.frame_sizes), frames.frame_sizes], axis=1)
        return np.where((result.found & visible)[:, None], in_frame, whole)
