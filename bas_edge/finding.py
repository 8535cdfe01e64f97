"""What every engine says of a frame, whatever its task: all that pipelines and sinks go by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bas_edge.results import Box, ColorOrder, Timing

__all__ = ["Finding", "FoundObject", "summary"]


class FoundObject(Protocol):
    """One object of a frame."""

    @property
    def label(self) -> int:
        """Index in the engine's classes."""
        ...

    @property
    def class_name(self) -> str:
        """The name of `label`."""
        ...

    @property
    def box(self) -> Box:
        """(x0, y0, x1, y1) in pixels of the frame, half-open."""
        ...

    @property
    def score(self) -> float | None:
        """Probability of the class, 0 to 1; None from a Segmenter."""
        ...

    @property
    def area(self) -> float | None:
        """Fraction of the frame that the class covers, 0 to 1; None from a Localizer."""
        ...

    @property
    def text(self) -> str:
        """For people: "wren 0.93", or "dog 31 %"."""
        ...


class Finding(Protocol):
    """The result of one frame: a `Localization` or a `Segmentation`."""

    @property
    def found(self) -> bool:
        """Whether there is an object."""
        ...

    @property
    def frame_size(self) -> tuple[int, int]:
        """(H, W) of the frame."""
        ...

    @property
    def timing(self) -> Timing:
        """How long each stage took."""
        ...

    @property
    def objects(self) -> Sequence[FoundObject]:
        """What was found, largest first; empty where nothing was."""
        ...

    @property
    def best(self) -> FoundObject | None:
        """The first of `objects`; of a Localization without any the best class all the same."""
        ...

    def draw(
        self, frame: NDArray[np.uint8], *, color: ColorOrder = "rgb", opacity: float | None = None
    ) -> NDArray[np.uint8]:
        """A copy of `frame` [H, W, 3] uint8 with all of this drawn on it.

        Args:
            frame: Of `frame_size`.
            color: The order of its channels.
            opacity: Of the map or the classes over the frame, 0 to 1; None is what suits the task.
        """
        ...

    def resized(self, frame_size: tuple[int, int]) -> Finding:
        """The same on a copy of the frame with the size (H, W), to draw there."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; has "found", "width", "height" and "timing_ms"."""
        ...


def summary(finding: Finding) -> str:
    """What was found, for people: "wren 0.93", or "dog 31 %, person 4 %"; "" for nothing."""
    return ", ".join(dict.fromkeys(one.text for one in finding.objects))
