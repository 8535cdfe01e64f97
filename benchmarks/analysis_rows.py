"""The experiment of `bas-edge analyse` on one checkpoint and set of images, as a row."""

from __future__ import annotations

import msgspec

from .timings import Provenance

__all__ = ["AnalysisRow", "CurveFigures"]


class CurveFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One curve: figures at each of the row's ratios.

    Attributes:
        mean, standard_error, median: Over the images.
        settled: The ratio at which the mean has gone 90 % of its way to the whole image's value;
            None where it has not.
    """

    mean: tuple[float, ...]
    standard_error: tuple[float, ...]
    median: tuple[float, ...]
    settled: float | None


class AnalysisRow(msgspec.Struct, frozen=True, kw_only=True, tag="analysis", tag_field="kind"):
    """What cross-entropy and activation say about masks of several sizes.

    Attributes:
        left_out: How many further images are in no average, by why.
        truth: What the objects were taken from, "boxes" or "masks".
        top1: Percentage of the images whose best class is their label.
        ratios: Areas of the masks relative to the object.
        whole_frame: Images whose mask is the whole frame, at each ratio.
        figures: "cross_entropy" in nats, "foreground" and "background" relative to the whole image.
    """

    case: str = "analysis"
    provenance: Provenance
    model: str
    head: str
    data: str
    images: int
    left_out: dict[str, int]
    truth: str
    top1: float
    ratios: tuple[float, ...]
    whole_frame: tuple[int, ...]
    figures: dict[str, CurveFigures]
