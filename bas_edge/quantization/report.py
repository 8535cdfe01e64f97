"""What `report.json` says: how far an engine is from its float32 graph, and why it was accepted.

Errors are of the foreground map before the cut, 0 to 1, or of a segmenter's class probabilities;
shares and accuracies are percent, 0 to 100; IoUs 0 to 1.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from bas_edge.engine.manifest import Task
from bas_edge.engine.stages import IouSummary, Record, Stage

__all__ = [
    "REPORT_SCHEMA",
    "BoundCheck",
    "CalibrationRecord",
    "EqualizedTensor",
    "Flavour",
    "ImageComparison",
    "IouSummary",
    "KeptNode",
    "LayerError",
    "MaskComparison",
    "MethodResult",
    "PrecisionReport",
    "SearchStep",
    "Stage",
    "Unit",
    "Verdict",
]

REPORT_SCHEMA = 1
Verdict = Literal["accepted", "accepted after search", "refused"]
Flavour = Literal["onnxruntime", "tensorrt"]
Unit = Literal["percent", "IoU"]


class CalibrationRecord(Record, frozen=True, kw_only=True):
    """What the ranges were measured on.

    Attributes:
        source: The folder, CSV file or video, as given.
        images: How many frames.
        sha256: Of everything that decides the ranges (docs/precision.md).
        cache: Whether measured ranges were reused, and why or why not, in words.
        method: The method that was kept; see MethodResult.
        equalized: Tensors whose channels were brought to one range.
    """

    source: str
    images: int
    sha256: str
    cache: str = ""
    method: str = ""
    equalized: tuple[EqualizedTensor, ...] = ()


class EqualizedTensor(Record, frozen=True, kw_only=True):
    """A tensor whose channels were scaled towards one range, in the layers around it.

    Attributes:
        name: The tensor.
        producer: Layer that takes the scales into its weights.
        consumers: Layers that take their inverse.
        spread_before, spread_after: Largest range of a channel over the median one.
    """

    name: str
    producer: str
    consumers: tuple[str, ...]
    spread_before: float
    spread_after: float


class BoundCheck(Record, frozen=True, kw_only=True):
    """One figure that the bound holds.

    Attributes:
        metric: Such as "MaxBoxAccV2", "Top-1 Loc", "mIoU" or "box IoU with float32".
        reference: Its value with the float32 graph; None for agreements.
        value: Its value with this graph.
        loss: How much worse it became, in the metric's unit; negative is better.
        limit: The largest loss that is accepted.
        standard_error: Of `loss`, from the paired differences of the images; None if unknown.
        unit: Of the four; a loss of percent is in points.
    """

    metric: str
    reference: float | None
    value: float
    loss: float
    limit: float
    standard_error: float | None = None
    unit: Unit = "percent"

    @property
    def held(self) -> bool:
        """Whether the loss is within the limit, which sums of floats may miss by a hair."""
        return self.loss <= self.limit + 1e-9


class MethodResult(Record, frozen=True, kw_only=True):
    """A calibration method that was tried.

    Attributes:
        method: "min-max", "entropy", "percentile-99.9", "percentile-99.99" or "mse".
        checks: The bound's figures with it.
        held: Whether all of them are within their limits.
        map_error: Mean absolute error of the foreground map against float32; of a segmenter, of
            the class probabilities of cells.
        logit_error: Root mean square error of the logits, or of a segmenter's scores, over their
            standard deviation.
        chosen: Whether it was kept.
        seconds: What trying it took.
    """

    method: str
    checks: tuple[BoundCheck, ...]
    held: bool
    map_error: float
    logit_error: float
    chosen: bool
    seconds: float


class LayerError(Record, frozen=True, kw_only=True):
    """What quantizing one layer alone costs.

    Attributes:
        node: Its name.
        operator: "Conv" …
        error: Of the outputs, squared, when only this layer is quantized, as a share of the sum
            over all layers.
        sqnr_db: Signal to quantization noise of its own output, in decibel; None if unknown.
        in_float: Whether it stays in float in the engine.
    """

    node: str
    operator: str
    error: float
    sqnr_db: float | None = None
    in_float: bool = False


class KeptNode(Record, frozen=True, kw_only=True):
    """A layer that was to be quantized or halved, and was kept in float."""

    node: str
    reason: str


class SearchStep(Record, frozen=True, kw_only=True):
    """One step of the search: this many of the most sensitive layers in float."""

    nodes_in_float: int
    checks: tuple[BoundCheck, ...]
    held: bool
    seconds: float


class ImageComparison(Record, frozen=True, kw_only=True):
    """One image with both boxes, pixels of the original, half-open; and both maps.

    Attributes:
        path: The image file.
        iou: Of the two boxes.
        box_reference, box: (x0, y0, x1, y1) of the float32 graph and of this one.
        label_reference, label: Class names.
        heat_reference, heat: h * w bytes, row by row, spread over the whole image; each map is
            scaled to 0..255 by the range of the float32 one. `heat_size` is (h, w).
        seen: JPEG of what the network saw, spread over the whole frame; b"" where `path` is an
            image file.
        seen_size: (H, W) of the frame, where there is `seen`.
    """

    path: str
    iou: float
    box_reference: tuple[float, float, float, float]
    box: tuple[float, float, float, float]
    label_reference: str
    label: str
    heat_reference: bytes
    heat: bytes
    heat_size: tuple[int, int]
    seen: bytes = b""
    seen_size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width = self.heat_size
        sizes = {len(self.heat), len(self.heat_reference)}
        if height < 1 or width < 1 or sizes != {height * width}:
            raise ValueError(f"heat has {sizes} bytes, but heat_size is {self.heat_size}")


class MaskComparison(Record, frozen=True, kw_only=True):
    """One image with both masks of a segmenter.

    Attributes:
        path: The image file.
        iou: Mean IoU of the two masks, over the background and the classes in either.
        mask_reference, mask: Of the float32 graph and of this one: PNGs of class numbers, 0 is
            background, spread over the whole image and at most 320 pixels a side.
        classes_reference, classes: Names of the classes in each, in the engine's order.
        seen, seen_size: As in ImageComparison.
    """

    path: str
    iou: float
    mask_reference: bytes
    mask: bytes
    classes_reference: tuple[str, ...]
    classes: tuple[str, ...]
    seen: bytes = b""
    seen_size: tuple[int, int] = (0, 0)


class PrecisionReport(Record, frozen=True, kw_only=True):
    """The whole content of `report.json`.

    Attributes:
        task: What the engine is for; decides which figures there are.
        engine: Name of the engine.
        precision: "fp32", "fp16" or "int8".
        flavour: For which library the Q/DQ nodes are placed; "" where there are none.
        verdict: "accepted after search" names its nodes in `kept`.
        reason: The verdict in one sentence, with the values that decided it.
        data: What the bound was measured on, and on how many images.
        checks: The bound's figures for the graph, computed by ONNX Runtime.
        plan_checks: The same for the plan, on the GPU of the machine that built it; empty where
            none could run it.
        stages: From torch, as far as known, to the plan.
        calibration: None for fp32 and fp16 without images.
        methods: One per calibration method tried.
        layers: The most sensitive first.
        kept: What stays in float beyond what always does.
        search: The steps taken; empty where none was needed.
        worst: Images whose boxes moved most, the worst first.
        worst_masks: Images whose masks changed most, the worst first, of a segmenter.
        forced: The engine was written although the bound refuses it.
        created_by: Name and version of the program.
        libraries: Versions that decide the figures.
        command: What was typed.
        notes: Anything that went another way than asked.
    """

    schema_version: int = REPORT_SCHEMA
    task: Task = "localization"
    engine: str
    precision: str
    flavour: str = ""
    verdict: Verdict
    reason: str = ""
    data: str = ""
    images: int = 0
    checks: tuple[BoundCheck, ...] = ()
    plan_checks: tuple[BoundCheck, ...] = ()
    stages: tuple[Stage, ...] = ()
    calibration: CalibrationRecord | None = None
    methods: tuple[MethodResult, ...] = ()
    layers: tuple[LayerError, ...] = ()
    kept: tuple[KeptNode, ...] = ()
    search: tuple[SearchStep, ...] = ()
    worst: tuple[ImageComparison, ...] = ()
    worst_masks: tuple[MaskComparison, ...] = ()
    forced: bool = False
    created_by: str = ""
    libraries: dict[str, str] = msgspec.field(default_factory=dict)
    command: str = ""
    notes: tuple[str, ...] = ()
