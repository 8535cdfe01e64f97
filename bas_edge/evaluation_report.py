"""What an evaluation found, ready for JSON and for a table."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.metrics.centre_box import CentreBox
from bas_edge.metrics.localization import BoxAccuracy, ClassAccuracy, LocalizationAccuracy
from bas_edge.metrics.max_box_acc import MaxBoxAcc, MaxBoxAccV2
from bas_edge.metrics.min_score import MinScore
from bas_edge.metrics.protocols import ProtocolName

__all__ = [
    "CutScore",
    "Evaluation",
    "LocalizationReport",
    "PixelReport",
    "RejectionReport",
    "SkippedImage",
    "TenCropReport",
    "WorstImage",
    "describe_threshold",
]

_Row = tuple[str, str, str, str]


class SkippedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that could not be used, and why."""

    path: str
    reason: str


class CutScore(msgspec.Struct, frozen=True, kw_only=True):
    """What one way to cut the maps reaches on some of the images. Percent.

    Attributes:
        threshold: The rule and its value.
        images: How many images it was measured on.
        localization: GT-known, Top-1 and Top-5 Loc at IoU 0.5.
        box: Accuracy at IoU 0.3, 0.5 and 0.7 and their mean, at this one cut.
        oracle: GT-known of the best fixed cut on the same images, chosen by looking at them.
        gap: `oracle` minus GT-known, in points; negative where the rule beats every fixed cut.
    """

    threshold: ThresholdPolicy
    images: int
    localization: LocalizationAccuracy
    box: BoxAccuracy
    oracle: float
    gap: float


class LocalizationReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that needs boxes.

    Attributes:
        stored: The engine's own threshold, on every image: what a user gets.
        chosen: The best threshold of one half of the split, measured on the other half.
            None with fewer than two images.
        oracle: The best fixed threshold on the images it is measured on: an upper bound.
        max_box_acc: GT-known of `oracle`, as the literature reports it.
        max_box_acc_v2: The same over IoU 0.3, 0.5 and 0.7, each at its own best cut.
        centre_box: A centred box of one size for every image.
    """

    stored: CutScore
    chosen: CutScore | None
    oracle: CutScore
    max_box_acc: MaxBoxAcc
    max_box_acc_v2: MaxBoxAccV2
    centre_box: CentreBox


class PixelReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that needs masks, over the pixels of all images together. Percent.

    Attributes:
        images: How many were measured.
        px_ap: Pixel average precision: the area under the precision-recall curve.
        peak_iou: The best IoU at any one threshold, chosen by looking at the masks.
        peak_threshold: That threshold.
        stored_iou: IoU of the mask that the runtime returns: the largest region at the
            engine's own threshold.
    """

    images: int
    px_ap: float
    peak_iou: float
    peak_threshold: float
    stored_iou: float


class TenCropReport(msgspec.Struct, frozen=True, kw_only=True):
    """Classes are those of ten crops and boxes those of the centre one, which no runtime does.

    Attributes:
        passes: Runs of the network an image; 1 otherwise.
        one_view: Classification by the whole frame alone, as `run` does it.
    """

    passes: int
    one_view: ClassAccuracy


class RejectionReport(msgspec.Struct, frozen=True, kw_only=True):
    """Frames without an object.

    Attributes:
        stored: What the engine's own `min_score` keeps.
        chosen: The value chosen on this data, and what it keeps of the same data.
        background_images: How many images without an object were measured.
    """

    stored: MinScore
    chosen: MinScore
    background_images: int


class WorstImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image where the stored threshold misses most.

    Attributes:
        path: The file.
        iou: Of the predicted box with the nearest annotated one, half-open, original frame.
        box: Predicted, xyxy in pixels of the original frame.
        truth: Annotated boxes, the same.
        class_name: The image's label.
        predicted: The engine's best class.
        score: Its softmax probability.
        heat: [h, w] uint8, the map scaled to 0..255 and spread over the frame (base64 in JSON).
        heat_size: (h, w).
    """

    path: str
    iou: float
    box: tuple[float, float, float, float]
    truth: tuple[tuple[float, float, float, float], ...]
    class_name: str
    predicted: str
    score: float
    heat: bytes
    heat_size: tuple[int, int]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One engine on one annotated split. `msgspec.json.encode` writes it, percentages 0 to 100.

    Attributes:
        engine: Path of the engine.
        backend: The library that ran it.
        data: Path of the annotations.
        split: Which part of them, where there are several.
        protocol: "bas" or "wsoleval"; docs/evaluation.md.
        images: Images measured; background images are not among them.
        skipped: Images, background or not, that could not be used.
        classification: Top-1 and Top-5; Top-1 and Top-5 Loc use the same classes.
        ten_crop: None unless ten crops named the classes.
        localization: None when the annotations hold no boxes. With `ten_crop`, of the crop in
            the centre of each frame.
        pixels: None when the annotations hold no masks.
        rejection: min_score and the images without an object.
        worst: The images with the lowest IoU, worst first; empty without boxes.
        updated: Whether the engine's manifest was rewritten with what was chosen.
        notes: Sentences about images of the set that were left out.
    """

    engine: str
    backend: str
    data: str
    protocol: ProtocolName
    images: int
    skipped: tuple[SkippedImage, ...]
    classification: ClassAccuracy
    localization: LocalizationReport | None
    rejection: RejectionReport
    worst: tuple[WorstImage, ...] = ()
    updated: bool = False
    split: str = ""
    ten_crop: TenCropReport | None = None
    pixels: PixelReport | None = None
    notes: tuple[str, ...] = ()

    def headers(self) -> _Row:
        """Column titles of `rows`."""
        return ("", "stored threshold", "chosen on one half", "oracle")

    def rows(self) -> list[_Row]:
        """The whole report as rows of text: a name, and a value under each of `headers`."""
        report = self.localization
        rows = [] if report is None else _box_rows(report)
        if rows and self.ten_crop is not None:
            crop = "the centre crop"
            rows.insert(0, ("boxes are those of", crop, crop, crop))
        rows += [] if self.pixels is None else _pixel_rows(self.pixels)
        return rows + _class_rows(self) + _rejection_rows(self.rejection)

    def table(self) -> list[str]:
        """`headers` and `rows` as aligned lines of plain text."""
        cells = [self.headers(), *self.rows()]
        widths = [max(len(row[column]) for row in cells) for column in range(4)]
        return [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]

    def save_worst(self, path: str | os.PathLike[str]) -> None:
        """Draw the worst images with map, predicted and annotated box into one picture.

        Raises:
            InputError: There is nothing to draw, or the picture cannot be written.
        """
        from bas_edge.evaluation_sheet import save_sheet

        save_sheet(self.worst, path)


def describe_threshold(policy: ThresholdPolicy) -> str:
    """Rule and value in words, such as "mean × 1.50", "fixed 0.32" or "fixed 0.317"."""
    value = f"{policy.value:.3f}".removesuffix("0")
    return f"mean × {value}" if policy.rule == "mean" else f"fixed {value}"


def _box_rows(report: LocalizationReport) -> list[_Row]:
    cuts = (report.stored, report.chosen, report.oracle)
    v2, centre = report.max_box_acc_v2, report.centre_box

    def across(name: str, text: str, value: Callable[[CutScore], float | str]) -> _Row:
        stored, chosen, oracle = ("–" if cut is None else format(value(cut), text) for cut in cuts)
        return (name, stored, chosen, oracle)

    def at_level(level: str) -> _Row:
        return across(f"box at IoU {level}", ".1f", lambda cut: cut.box.by_iou[level])

    def bound(name: str, value: float) -> _Row:
        return (name, "", "", f"{value:.1f}")

    return [
        across("threshold", "", lambda cut: describe_threshold(cut.threshold)),
        across("images", "d", lambda cut: cut.images),
        across("GT-known", ".1f", lambda cut: cut.localization.gt_known),
        across("Top-1 Loc", ".1f", lambda cut: cut.localization.top1_loc),
        across("Top-5 Loc", ".1f", lambda cut: cut.localization.top5_loc),
        *(at_level(level) for level in v2.by_iou),
        across("box, mean of the three", ".1f", lambda cut: cut.box.mean),
        across("oracle on the same images", ".1f", lambda cut: cut.oracle),
        across("gap to the oracle", "+.1f", lambda cut: cut.gap),
        bound("MaxBoxAcc", report.max_box_acc.accuracy),
        bound("MaxBoxAccV2", v2.mean),
        *(bound(f"  at IoU {level}", best.accuracy) for level, best in v2.by_iou.items()),
        bound(f"centred box, {centre.side:.0%} of each side", centre.by_iou["0.5"]),
    ]


def _pixel_rows(report: PixelReport) -> list[_Row]:
    return [
        ("PxAP", "", "", f"{report.px_ap:.1f}"),
        ("pixel IoU", f"{report.stored_iou:.1f}", "", f"{report.peak_iou:.1f}"),
        ("  at the threshold", "", "", f"{report.peak_threshold:.3f}"),
    ]


def _class_rows(evaluation: Evaluation) -> list[_Row]:
    classes, crops = evaluation.classification, evaluation.ten_crop
    by = "" if crops is None else ", ten crops"
    rows: list[_Row] = [
        (f"Top-1 classification{by}", f"{classes.top1:.1f}", "", ""),
        (f"Top-5 classification{by}", f"{classes.top5:.1f}", "", ""),
    ]
    if crops is not None:
        one = crops.one_view
        rows += [
            ("  Top-1 of one view, as run has it", f"{one.top1:.1f}", "", ""),
            ("  Top-5 of one view, as run has it", f"{one.top5:.1f}", "", ""),
            ("  network passes an image", str(crops.passes), "", ""),
        ]
    return [
        *rows,
        ("images measured", str(evaluation.images), "", ""),
        ("images skipped", str(len(evaluation.skipped)), "", ""),
    ]


def _rejection_rows(report: RejectionReport) -> list[_Row]:
    rows: list[_Row] = []
    for name, score in (("stored", report.stored), ("chosen", report.chosen)):
        rows.append((f"min_score, {name}", f"{score.value:.3f}", "", ""))
        rows.append(("  objects kept", f"{score.object_rate:.1f}", "", ""))
        rate = score.false_positive_rate
        shown = "no background images" if rate is None else f"{rate:.1f}"
        rows.append(("  background kept", shown, "", ""))
    return rows
