"""The least that can be measured on calibration frames: the range of the input itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bas_edge.quantization.frames import CalibrationFrames

__all__ = ["input_ranges"]

BATCH = 8


def input_ranges(frames: CalibrationFrames) -> dict[str, NDArray[np.int64]]:
    """Two passes, as a calibration makes them: {"range": [3, 2], "histogram": [3, 256]}."""
    low, high = np.full(3, 255), np.zeros(3, np.int64)
    for batch in frames.batches(BATCH):
        low = np.minimum(low, batch.min(axis=(0, 1, 2)))
        high = np.maximum(high, batch.max(axis=(0, 1, 2)))
    histogram = np.zeros((3, 256), np.int64)
    for batch in frames.batches(BATCH):
        for channel in range(3):
            histogram[channel] += np.bincount(batch[..., channel].ravel(), minlength=256)
    return {"range": np.stack([low, high], axis=1), "histogram": histogram}
