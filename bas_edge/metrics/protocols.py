"""Which box a map gives, and when that box counts as correct: the two published protocols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics.ground_truth import GroundTruth

__all__ = [
    "IOU_LEVELS",
    "THRESHOLDS",
    "BoxIous",
    "BoxProtocol",
    "ProtocolName",
    "Rule",
    "open_protocol",
]

Rule = Literal["fixed", "mean"]
ProtocolName = Literal["bas", "wsoleval"]

IOU_LEVELS: tuple[float, ...] = (0.3, 0.5, 0.7)  # of MaxBoxAccV2
THRESHOLDS: NDArray[np.float64] = np.arange(100) / 100  # 0, 0.01, … 0.99, of protocol "bas"


@dataclass(frozen=True, slots=True)
class BoxIous:
    """IoU of predicted boxes with the nearest annotated box of their image.

    Attributes:
        largest: [..., N] float64, of the box round the largest region: the one that is shipped.
        best: [..., N] float64, of the best box that the protocol's MaxBoxAccV2 may pick. The same
            array as `largest` for a protocol that only ever proposes one box.
    """

    largest: NDArray[np.float64]
    best: NDArray[np.float64]

    def __getitem__(self, images: NDArray[np.bool_]) -> BoxIous:
        """The same for some of the images."""
        return BoxIous(self.largest[..., images], self.best[..., images])


class BoxProtocol(Protocol):
    """From low-resolution maps to box IoUs, by one protocol's own conventions."""

    @property
    def name(self) -> ProtocolName: ...

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """The grid of fixed cuts [T], ascending, that its MaxBoxAcc is the best of."""
        ...

    def ious(
        self,
        maps: NDArray[np.float32],
        truth: GroundTruth,
        threshold: float | NDArray[np.float32],
        rule: Rule = "fixed",
    ) -> BoxIous:
        """IoUs at one cut.

        Args:
            maps: [N, h, w] float32 foreground, unnormalised.
            truth: The boxes of the same N images.
            threshold: One value, or one per image [N]; see `bas_edge.ops.maps_to_boxes`.
            rule: "fixed": a fraction of each map's range. "mean": a factor on its mean.

        Returns:
            Arrays [N].
        """
        ...

    def sweep(
        self,
        maps: NDArray[np.float32],
        truth: GroundTruth,
        thresholds: NDArray[np.float64],
        rule: Rule = "fixed",
    ) -> BoxIous:
        """IoUs at every cut of a grid: arrays [T, N]."""
        ...

    def correct(self, ious: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
        """Which IoUs count as a localized object."""
        ...

    def pixel_scores(self, foreground: NDArray[np.float32]) -> NDArray[np.float64]:
        """One map [h, w] at the network's input size [H, W], scaled to 0..1; a flat map is 0."""
        ...


def open_protocol(name: str, size: tuple[int, int]) -> BoxProtocol:
    """The protocol called `name`, for a network whose input is `size` (h, w).

    Raises:
        InputError: No protocol has that name.
        MissingExtraError: "wsoleval" without OpenCV.
    """
    if name == "bas":
        from bas_edge.metrics.bas_protocol import BasProtocol

        return BasProtocol(size)
    if name == "wsoleval":
        from bas_edge.metrics.wsoleval_protocol import WsolevalProtocol

        return WsolevalProtocol(size)
    raise InputError(
        f"Unknown protocol '{name}'; there are 'bas' and 'wsoleval'.",
        hint="docs/evaluation.md says how they differ.",
    )
