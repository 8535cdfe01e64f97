"""The forms of one network, from PyTorch to a plan, each compared with the one it came from.

`bas-edge export` writes the first stages into the ONNX file; building an engine adds the others.
"""

from __future__ import annotations

import math

import msgspec

__all__ = ["IouSummary", "Record", "Stage"]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A struct whose numbers are finite, because JSON has neither NaN nor infinity."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{type(self).__name__}.{name} is {value}, but must be finite")


class IouSummary(Record, frozen=True, kw_only=True):
    """How much the boxes, or the masks, of two graphs agree on the same images.

    Attributes:
        mean, smallest, percentile_5: IoU over the images.
        histogram: Images by IoU in 20 equal steps from 0 to 1; the last one includes 1.
    """

    mean: float
    smallest: float
    percentile_5: float
    histogram: tuple[int, ...]


class Stage(Record, frozen=True, kw_only=True):
    """One form of the network, compared on the same images with the form it came from.

    Attributes:
        name: "torch", "onnx", "simplified", "fp32", "fp16", "int8" or "plan".
        against: The stage it is compared with; "" for the first.
        images: How many were compared; 0 where nothing was.
        max_abs_error, mean_abs_error: Of the foreground map; of a segmenter, of the class
            probabilities of a few images' cells.
        box_iou: None where nothing was compared.
        mask_iou: The same of a segmenter's masks: each image's mean over its classes.
        label_agreement: Percent of images with the same best class; of a segmenter, of pixels.
        size_bytes: Of the file; 0 where there is none.
        latency_ms: Median of the network alone on the machine that built it, one frame a run;
            None where it cannot run there.
        note: What a reader must know ("no GPU here: not run").
    """

    name: str
    against: str = ""
    images: int = 0
    max_abs_error: float = 0.0
    mean_abs_error: float = 0.0
    box_iou: IouSummary | None = None
    mask_iou: IouSummary | None = None
    label_agreement: float = 100.0
    size_bytes: int = 0
    latency_ms: float | None = None
    note: str = ""

    @property
    def iou(self) -> IouSummary | None:
        """Of boxes or of masks, whichever it is."""
        return self.box_iou or self.mask_iou
