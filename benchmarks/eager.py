"""The baseline of every end-to-end row: the model in eager torch, then the published steps."""

from __future__ import annotations

import time
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bas_edge.engine.manifest import ThresholdPolicy

from .published import average_top_maps, foreground_to_box

__all__ = ["EagerLocalizer", "EagerResult", "fraction_of_range"]


class EagerResult(NamedTuple):
    """One image. `box` is (x0, y0, x1, y1), half-open, in pixels of the frame."""

    box: tuple[float, float, float, float]
    foreground: NDArray[np.float32]  # [h, w]
    logits: NDArray[np.float32]  # [C]
    stages_ms: dict[str, float]


def fraction_of_range(foreground: NDArray[np.float32], policy: ThresholdPolicy) -> float:
    """The published threshold, a fraction of the map's range, that cuts where `policy` does."""
    if policy.rule == "fixed":
        return policy.value
    low, high = float(foreground.min()), float(foreground.max())
    return policy.value * (float(foreground.mean(dtype=np.float64)) - low) / (high - low)


class EagerLocalizer:
    """Pillow resize, eager forward pass, published post-processing."""

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        size: int,
        top_k: int,
        threshold: ThresholdPolicy,
        threads: int,
    ) -> None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        self._model = model.eval()
        self._size = size
        self._top_k = top_k
        self._threshold = threshold

    def run(self, frame: NDArray[np.uint8]) -> EagerResult:
        """RGB [H, W, 3] u8 -> box; stretched to the network's input by Pillow alone."""
        start = time.perf_counter_ns()
        size = (self._size, self._size)
        small = np.array(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))
        pre_ms = (time.perf_counter_ns() - start) / 1e6
        result = self.run_resized(small, frame.shape[:2])
        return result._replace(stages_ms={"pre": pre_ms, **result.stages_ms})

    @torch.inference_mode()
    def run_resized(self, small: NDArray[np.uint8], frame_size: tuple[int, ...]) -> EagerResult:
        """A frame that already has the network's size -> box in a frame of (H, W)."""
        start = time.perf_counter_ns()
        logits, maps = self._model(torch.from_numpy(small).permute(2, 0, 1)[None])
        scores = logits[0].numpy()
        inferred = time.perf_counter_ns()
        foreground = average_top_maps(maps[0].numpy(), scores, self._top_k)
        fraction = fraction_of_range(foreground, self._threshold)
        x0, y0, x1, y1 = foreground_to_box(foreground, small.shape[:2], fraction)
        height, width = frame_size
        sx, sy = width / self._size, height / self._size
        box = (x0 * sx, y0 * sy, x1 * sx, y1 * sy)
        end = time.perf_counter_ns()
        stages = {"infer": (inferred - start) / 1e6, "post": (end - inferred) / 1e6}
        return EagerResult(box, foreground, scores, stages)
