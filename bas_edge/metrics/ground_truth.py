"""Annotated boxes of a split, as arrays, beside where each frame lies on the network's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.manifest import InputPolicy
from bas_edge.errors import InputError
from bas_edge.metrics.frame_layout import FrameLayout

__all__ = ["GroundTruth"]


@dataclass(frozen=True, slots=True)
class GroundTruth(FrameLayout):
    """The boxes of N images and how their frames were shown to the network.

    Attributes:
        boxes: [N, B, 4] float64, xyxy half-open in pixels of the original frame. An image with
            fewer than B boxes repeats its first one, which no best-of-all-boxes metric notices.
    """

    boxes: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        boxes: Sequence[NDArray[np.float64]],
        frame_sizes: Sequence[tuple[int, int]],
        policy: InputPolicy,
    ) -> GroundTruth:
        """Collect the boxes of N images.

        Args:
            boxes: One [B, 4] array for each image, B at least 1.
            frame_sizes: (H, W) of each original frame.
            policy: The network's input size and resize policy.

        Raises:
            InputError: The two sequences differ in length, or an image has no box.
        """
        if len(boxes) != len(frame_sizes):
            raise InputError(
                f"{len(boxes)} images have boxes, but {len(frame_sizes)} have sizes.",
                hint="Give one of each for every image.",
            )
        empty = sum(len(rows) == 0 for rows in boxes)
        if empty:
            raise InputError(
                f"{empty} of {len(boxes)} images have no box.",
                hint="Localization metrics need at least one box per image; leave the others out.",
            )
        widest = max((len(rows) for rows in boxes), default=1)
        padded = np.empty((len(boxes), widest, 4), np.float64)
        for n, rows in enumerate(boxes):
            padded[n, : len(rows)] = rows
            padded[n, len(rows) :] = rows[0]
        layout = FrameLayout.of_frames(frame_sizes, policy)
        return cls(layout.frame_sizes, layout.shown, layout.target, padded)

    def seen_in_centres(self, sizes: Sequence[tuple[int, int]], policy: InputPolicy) -> GroundTruth:
        """The same boxes where the network saw the centre crop of each frame alone.

        A box ends where the crop does, as in BAS's evaluation; one that lies outside is empty.

        Args:
            sizes: (H, W) of each original frame.
            policy: The network's input size and resize policy.
        """
        layout = FrameLayout.of_centres(sizes, policy)
        low, high = np.split(layout.shown[:, None], 2, axis=2)  # [N, 1, xy]
        boxes = np.clip(self.boxes, np.tile(low, 2), np.tile(high, 2))
        return GroundTruth(layout.frame_sizes, layout.shown, layout.target, boxes)

    @classmethod
    def stretched(
        cls,
        boxes: Sequence[NDArray[np.float64]],
        frame_sizes: Sequence[tuple[int, int]],
        size: tuple[int, int],
    ) -> GroundTruth:
        """`of` for frames stretched to an input of `size` (h, w), the default resize policy."""
        return cls.of(boxes, frame_sizes, InputPolicy(height=size[0], width=size[1]))

    def __getitem__(self, images: NDArray[np.bool_] | NDArray[np.intp] | slice) -> GroundTruth:
        """The same for some of the images: a mask, indices or a slice."""
        return GroundTruth(
            self.frame_sizes[images], self.shown[images], self.target[images], self.boxes[images]
        )

    def to_network(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Original boxes [N, B, 4] in network pixels; unclipped."""
        low, origin = self.shown[:, None, None, :2], self.target[:, None, None, :2]
        shown, target = self.shown[:, None, None, 2:] - low, self.target[:, None, None, 2:] - origin
        corners = boxes.reshape(*boxes.shape[:-1], 2, 2)  # [N, B, corner, xy]
        # Multiplied before divided: wsolevaluation truncates this quotient to whole pixels.
        return ((corners - low) * target / shown + origin).reshape(boxes.shape)
