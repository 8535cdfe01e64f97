"""How steady boxes are from frame to frame, and that in a few numbers."""

from __future__ import annotations

import math

import numpy as np

from bas_edge.results import Box, Localization
from bas_edge.video.frames import Stability

__all__ = ["StabilitySummary", "stability_between"]

_IOU_BINS = 1000
_JITTER_RATIO = 1.01  # a percentile is within half a per cent of the true value
_SMALLEST_PX = 1e-2
_JITTER_BINS = math.ceil(math.log(1e7, _JITTER_RATIO))  # 0.01 to 100 000 pixels


def stability_between(before: Localization, after: Localization) -> Stability | None:
    """`after` against the frame before; None where one of them has no box."""
    if not (before.found and after.found):
        return None
    first, second = before.box, after.box
    corners = [(0, 1), (0, 3), (2, 1), (2, 3)]
    distances = [math.hypot(first[x] - second[x], first[y] - second[y]) for x, y in corners]
    return Stability(iou=_iou(first, second), jitter_px=sum(distances) / 4)


class StabilitySummary:
    """Means and percentiles, in constant memory however long the stream runs."""

    def __init__(self) -> None:
        self._iou_counts = np.zeros(_IOU_BINS, np.int64)
        self._jitter_counts = np.zeros(_JITTER_BINS + 1, np.int64)  # the first is "not at all"
        self._iou_sum = 0.0
        self._jitter_sum = 0.0
        self.count = 0

    def add(self, stability: Stability) -> None:
        """Count one frame."""
        self.count += 1
        self._iou_sum += stability.iou
        self._jitter_sum += stability.jitter_px
        self._iou_counts[min(int(stability.iou * _IOU_BINS), _IOU_BINS - 1)] += 1
        self._jitter_counts[_jitter_bin(stability.jitter_px)] += 1

    @property
    def mean_iou(self) -> float:
        """0.0 without any frame."""
        return self._iou_sum / self.count if self.count else 0.0

    @property
    def mean_jitter_px(self) -> float:
        """0.0 without any frame."""
        return self._jitter_sum / self.count if self.count else 0.0

    def iou_percentile(self, percent: float) -> float:
        """The IoU that `percent` of the frames do not exceed, to 0.0005; 0.0 without any."""
        at = _rank(self._iou_counts, percent)
        return 0.0 if at is None else (at + 0.5) / _IOU_BINS

    def jitter_percentile(self, percent: float) -> float:
        """The jitter in pixels that `percent` of the frames do not exceed; 0.0 without any."""
        at = _rank(self._jitter_counts, percent)
        return float(_SMALLEST_PX * _JITTER_RATIO ** (at - 0.5)) if at else 0.0

    def to_dict(self) -> dict[str, float | int]:
        """JSON-ready."""
        return {
            "frames": self.count,
            "iou_mean": round(self.mean_iou, 4),
            "iou_p10": round(self.iou_percentile(10), 4),
            "iou_p50": round(self.iou_percentile(50), 4),
            "jitter_px_mean": round(self.mean_jitter_px, 3),
            "jitter_px_p50": round(self.jitter_percentile(50), 3),
            "jitter_px_p90": round(self.jitter_percentile(90), 3),
        }


def _iou(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (first, second))
    return shared / (areas - shared) if shared else 0.0


def _jitter_bin(jitter_px: float) -> int:
    if jitter_px < _SMALLEST_PX:
        return 0
    return min(1 + int(math.log(jitter_px / _SMALLEST_PX, _JITTER_RATIO)), _JITTER_BINS)


def _rank(counts: np.ndarray[tuple[int], np.dtype[np.int64]], percent: float) -> int | None:
    """The bin in which the asked rank lies; None where all are empty."""
    total = int(counts.sum())
    if total == 0:
        return None
    return int(np.searchsorted(np.cumsum(counts), max(1, math.ceil(total * percent / 100))))
