"""Where N frames lie on the network's input, and the way back for their boxes, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.manifest import InputPolicy
from bas_edge.framing import place
from bas_edge.ten_crop import centre_crop

__all__ = ["FrameLayout"]


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """How N frames were shown to the network.

    Attributes:
        frame_sizes: [N, 2] float64, (W, H) of the original frames.
        shown: [N, 4] float64 xyxy, what of each frame is shown, in its pixels.
        target: [N, 4] float64 xyxy, where on the input, in network pixels.
    """

    frame_sizes: NDArray[np.float64]
    shown: NDArray[np.float64]
    target: NDArray[np.float64]

    @staticmethod
    def of_frames(frame_sizes: Sequence[tuple[int, int]], policy: InputPolicy) -> FrameLayout:
        """For frames of these sizes (H, W) and a network with this input policy."""
        placements = [place(size, policy) for size in frame_sizes]
        return FrameLayout(
            np.array([size[::-1] for size in frame_sizes], np.float64).reshape(-1, 2),
            np.array([one.shown for one in placements], np.float64).reshape(-1, 4),
            np.array([one.target for one in placements], np.float64).reshape(-1, 4),
        )

    @staticmethod
    def of_centres(frame_sizes: Sequence[tuple[int, int]], policy: InputPolicy) -> FrameLayout:
        """The same for the centre crop of each frame, as BAS's evaluation shows it."""
        crops = [centre_crop(size, policy) for size in frame_sizes]
        return FrameLayout(
            np.array([size[::-1] for size in frame_sizes], np.float64).reshape(-1, 2),
            np.array([shown for shown, _ in crops], np.float64).reshape(-1, 4),
            np.array([target for _, target in crops], np.float64).reshape(-1, 4),
        )

    def __len__(self) -> int:
        return len(self.frame_sizes)

    def to_frame(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Network boxes [N, 4] in original pixels, clipped to what was shown of the frame.

        The same arithmetic as `bas_edge.framing.Placement.box_to_frame`, for N frames at once,
        except that a box which is clipped to nothing comes back empty.
        """
        low, high = self.shown[:, None, :2], self.shown[:, None, 2:]  # [N, 1, xy]
        scale = (high - low) / (self.target[:, None, 2:] - self.target[:, None, :2])
        corners = boxes.reshape(-1, 2, 2)  # [N, corner, xy]
        moved = low + (corners - self.target[:, None, :2]) * scale
        return np.clip(moved, low, high).reshape(-1, 4)
