"""Protocol "wsoleval": what clovaai/wsolevaluation measures, with its own conventions.

Written from the behaviour described in docs/evaluation.md. It follows OpenCV's contours, whose
area and nesting rules are part of the published number, so it runs on OpenCV itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bas_edge._require import require
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.iou import aligned_iou
from bas_edge.metrics.protocols import BoxIous, ProtocolName, Rule

__all__ = ["WsolevalProtocol"]


def _one_per_grey_level(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first cut of a grid for each level that it is truncated to; the others cut alike."""
    return grid[np.unique((grid * 255).astype(np.int64), return_index=True)[1]]


_THRESHOLDS = _one_per_grey_level(np.arange(0, 1, 0.001))  # 255 of its 1000


class WsolevalProtocol:
    """Contours of a uint8 map, compared in the network's frame with inclusive pixel counting.

    `largest` holds the contour with the largest `contourArea` (MaxBoxAcc), `best` the best of
    all contours, inner ones included (MaxBoxAccV2). Correct means IoU >= level.
    """

    name: ProtocolName = "wsoleval"
    thresholds = _THRESHOLDS

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._cv2 = require("cv2", extra="wsoleval", purpose="The wsoleval protocol")

    def ious(
        self,
        maps: NDArray[np.float32],
        truth: GroundTruth,
        threshold: float | NDArray[np.float32],
        rule: Rule = "fixed",
    ) -> BoxIous:
        """IoUs [N] at one cut; see `BoxProtocol`."""
        cuts = np.broadcast_to(np.asarray(threshold, np.float64), (len(maps),))[:, None]
        found = self._ious(maps, truth, cuts, rule)
        return BoxIous(found.largest[0], found.best[0])

    def sweep(
        self,
        maps: NDArray[np.float32],
        truth: GroundTruth,
        thresholds: NDArray[np.float64],
        rule: Rule = "fixed",
    ) -> BoxIous:
        """IoUs [T, N] on a grid of cuts; see `BoxProtocol`."""
        cuts = np.broadcast_to(thresholds, (len(maps), len(thresholds)))
        return self._ious(maps, truth, cuts, rule)

    def correct(self, ious: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
        """IoU >= level."""
        return ious >= level

    def boxes(self, score: NDArray[np.uint8], cut: int) -> NDArray[np.int64]:
        """Boxes round the contours of one map: [B, 4] xyxy, the largest contour first.

        Args:
            score: [H, W] uint8.
            cut: Pixels strictly above this grey level are foreground.

        Returns:
            At least one row: (0, 0, 0, 0) where nothing is above the cut.
        """
        cv2 = self._cv2
        _, binary = cv2.threshold(score, cut, 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[-2]
        if len(contours) == 0:
            return np.zeros((1, 4), np.int64)
        areas = [cv2.contourArea(contour) for contour in contours]
        rects = np.array([cv2.boundingRect(contour) for contour in contours], np.int64)
        last = np.array(score.shape[::-1]) - 1
        boxes = np.concatenate([rects[:, :2], np.minimum(rects[:, :2] + rects[:, 2:], last)], 1)
        first = int(np.argmax(areas))
        boxes[[0, first]] = boxes[[first, 0]]
        return boxes

    def score_map(self, foreground: NDArray[np.float32]) -> NDArray[np.uint8]:
        """One map [h, w] at network size: cubic resize, min-max in float64, times 255, truncated.

        A flat map becomes zeros.
        """
        pixels: NDArray[np.uint8] = (self.pixel_scores(foreground) * 255).astype(np.uint8)
        return pixels

    def pixel_scores(self, foreground: NDArray[np.float32]) -> NDArray[np.float64]:
        """Cubic resize, then min-max in float64."""
        height, width = self.size
        resized = self._cv2.resize(
            foreground.astype(np.float64), (width, height), interpolation=self._cv2.INTER_CUBIC
        )
        if resized.min() == resized.max():
            return np.zeros((height, width))
        normal: NDArray[np.float64] = resized - resized.min()
        normal /= normal.max()
        return normal

    def truth_boxes(self, truth: GroundTruth) -> NDArray[np.int64]:
        """Annotated boxes [N, B, 4] in whole network pixels, corners truncated towards zero.

        A corner on the far edge of the frame is first moved to its last pixel: the published
        annotations hold none beyond it.
        """
        last = np.tile(truth.frame_sizes - 1, 2)[:, None]
        in_network = truth.to_network(np.minimum(truth.boxes, last))
        limit = np.array([self.size[1], self.size[0]] * 2, np.float64) - 1
        return np.clip(in_network, 0, limit).astype(np.int64)

    def _ious(
        self,
        maps: NDArray[np.float32],
        truth: GroundTruth,
        cuts: NDArray[np.float64],  # [N, T]
        rule: Rule,
    ) -> BoxIous:
        """IoUs [T, N]; each map is resized once for all its cuts."""
        annotated = self.truth_boxes(truth)
        largest = np.zeros((cuts.shape[1], len(maps)))
        best = np.zeros_like(largest)
        for n, foreground in enumerate(maps if cuts.size else ()):
            score = self.score_map(foreground)
            top = int(score.max()) * (_normalised_mean(foreground) if rule == "mean" else 1.0)
            levels = np.clip(cuts[n] * top, 0, 255).astype(np.int64)  # truncated, as published
            distinct, at = np.unique(levels, return_inverse=True)
            boxes = [self.boxes(score, int(level)) for level in distinct]
            firsts = np.cumsum([0, *(len(each) for each in boxes[:-1])])  # the largest of each
            each_box = np.concatenate(boxes)[:, None]
            overlaps = aligned_iou(each_box, annotated[n], inclusive=True).max(axis=1)
            largest[:, n] = overlaps[firsts][at]
            best[:, n] = np.maximum.reduceat(overlaps, firsts)[at]
        return BoxIous(largest, best)


def _normalised_mean(foreground: NDArray[np.float32]) -> float:
    """Mean of one map scaled to 0..1; a flat map, which has no foreground, counts as 0."""
    values = foreground.astype(np.float64)
    span = values.max() - values.min()
    return float((values - values.min()).mean() / span) if span > 0 else 0.0
